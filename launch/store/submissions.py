"""Submissions: what was sent, known from disk. An intent before, a receipt per array after.

submissions/<time>-<id>/  intent.json  manifest-<n>.json  sending-<n>.json  receipt-<n>.json  cancelled-*.json
                          throttle-<n>.json  logs/<n>/  local/
"""

import os
import re
import socket
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from slurm import local
from slurm.base.files import make_folder, read_json, to_json, write_atomic, write_once

_STAMP = "%Y%m%d-%H%M%S.%f"  # of UTC, so that clocks may go back an hour
_LOG = re.compile(r"\d+_log\..*")  # of one task: `12_3_0_log.err`
NOTHING_RUNS = ("refused", "held", "lost")  # receipts of arrays that Slurm does not have


@dataclass(frozen=True)
class Location:
    """Where a stage was last sent."""

    submission: "Submission"
    array: int
    index: int

    @property
    def place(self) -> tuple[int, int]:
        """(array, index)"""
        return self.array, self.index

    @property
    def keys(self) -> list[str]:
        """Of all stages that the element was sent with."""
        found: list[str] = self.submission.arrays[self.array]["elements"][str(self.index)]
        return found

    @property
    def job(self) -> str | None:
        """The array's job id; None before its receipt and for local workers."""
        receipt = self.submission.receipt(self.array)
        return receipt.get("job") if receipt else None

    @property
    def sent(self) -> float | None:
        """When the receipt was written (Unix time); None before."""
        receipt = self.submission.receipt(self.array)
        return receipt.get("time") if receipt else None

    @property
    def name(self) -> str:
        """The array's job name."""
        return str(self.submission.arrays[self.array]["name"])

    @property
    def is_cancelled(self) -> bool:
        """Whether `stepstone cancel` was told to end it."""
        return (self.array, self.index) in self.submission.cancelled


@dataclass(frozen=True)
class Submission:
    """One act of sending. What was read stays as read: make a new one per look."""

    folder: Path
    _receipts: dict[int, dict[str, Any]] = field(default_factory=dict, compare=False, repr=False)
    _listings: dict[Path, dict[str, list[str]]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def intent(self) -> dict[str, Any]:
        """What was to be sent; empty where the submitter died before it said so: then nothing was."""
        found: dict[str, Any] = read_json(self.folder / "intent.json") or {}
        return found

    @property
    def arrays(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.intent.get("arrays", [])
        return found

    @property
    def keys(self) -> set[str]:
        """Of all stages that were to be sent."""
        return {key for array in self.arrays for keys in array["elements"].values() for key in keys}

    def receipt(self, array: int) -> dict[str, Any] | None:
        """What became of an array: {"job": id}, {"refused": words}, {"held": words} or {"lost": true}.

        None: it is not known.
        """
        if array not in self._receipts:
            found: dict[str, Any] | None = read_json(self.folder / f"receipt-{array}.json")
            if found is None:
                return None
            self._receipts[array] = found
        return self._receipts[array]

    def write_receipt(self, array: int, receipt: dict[str, Any]) -> None:
        """The first receipt of an array stays."""
        write_once(self.folder / f"receipt-{array}.json", to_json(receipt | {"time": time.time()}))

    def write_sending(self, array: int, *, left: bool = False) -> None:
        """Say that sbatch is called now, or was just left: from then on Slurm may have the array."""
        note = {"time": time.time(), "host": socket.gethostname(), "left": left}
        write_atomic(self.folder / f"sending-{array}.json", to_json(note))

    def sending(self, array: int) -> float | None:
        """When sbatch was last at work for an array (Unix time); None: it was never called."""
        found = read_json(self.folder / f"sending-{array}.json")
        return None if found is None else float(found["time"])

    def throttle(self, array: int) -> int | None:
        """How many elements of an array may run at the same time; None: all."""
        changed = read_json(self.folder / f"throttle-{array}.json") or self.receipt(array) or {}
        found: int | None = changed.get("throttle")
        return found

    def write_throttle(self, array: int, count: int | None) -> None:
        """Note that an array's throttle was changed after it was sent."""
        write_atomic(self.folder / f"throttle-{array}.json", to_json({"throttle": count, "time": time.time()}))

    @cached_property
    def cancelled(self) -> set[tuple[int, int]]:
        """The (array, index) of elements that `stepstone cancel` was told to end."""
        try:
            names = [name for name in os.listdir(self.folder) if name.startswith("cancelled-")]
        except FileNotFoundError:
            return set()
        records = [read_json(self.folder / name) or {"elements": []} for name in names]
        return {(array, index) for record in records for array, index in record["elements"]}

    def record_cancelled(self, elements: Iterable[tuple[int, int]]) -> None:
        """Note, before anything is ended, which elements a person has cancelled."""
        content = {"elements": sorted(elements), "time": time.time()}
        write_atomic(self.folder / f"cancelled-{uuid.uuid4().hex}.json", to_json(content))
        self.__dict__.pop("cancelled", None)

    def manifest(self, array: int) -> Path:
        return self.folder / f"manifest-{array}.json"

    def logs(self, array: int) -> Path:
        return self.folder / "logs" / str(array)

    @property
    def executor(self) -> Literal["slurm", "local"]:
        """What runs its elements."""
        return "local" if self.intent.get("executor") == "local" else "slurm"

    @property
    def is_local(self) -> bool:
        return self.intent.get("executor") == "local"

    def listing(self, folder: Path) -> dict[str, list[str]]:
        """Names of the logs in a folder, by the beginning that an element's have in common (`12_3_`). Listed once."""
        if folder not in self._listings:
            found: dict[str, list[str]] = {}
            for name in sorted(os.listdir(folder) if folder.exists() else []):
                found.setdefault(_LOG.sub("", name), []).append(name)
            self._listings[folder] = found
        return self._listings[folder]

    def local_element(self, array: int, index: int) -> int:
        """The number of an element in the local run, which has no arrays."""
        return self._local_numbers[array, index]

    @cached_property
    def _local_numbers(self) -> dict[tuple[int, int], int]:
        places = [(n, index) for n, array in enumerate(self.arrays) for index in sorted(map(int, array["elements"]))]
        return {place: number for number, place in enumerate(places)}

    def local_state(self, array: int, index: int) -> str:
        return local.element_state(self.folder / "local", self.local_element(array, index))


def read_all(root: Path) -> list[Submission]:
    """Every submission in a store, the oldest first."""
    try:
        names = sorted(name for name in os.listdir(root / "submissions") if not name.startswith((".", "lock")))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [Submission(root / "submissions" / name) for name in names]


def locate(submissions: list[Submission]) -> dict[str, Location]:
    """By stage key: where it was last sent. Arrays that Slurm never had do not count."""
    found: dict[str, Location] = {}
    for submission in submissions:
        for number, array in enumerate(submission.arrays):
            receipt = submission.receipt(number)
            if receipt is not None and any(word in receipt for word in NOTHING_RUNS):
                continue
            for index, keys in array["elements"].items():
                location = Location(submission, number, int(index))
                found.update(dict.fromkeys(keys, location))
    return found


def new_folder(root: Path) -> tuple[Submission, str]:
    """Make an empty submission and its id of eight hex digits, which travels in its jobs' names.

    For who holds the lock: its name sorts after all that are there, though another login node's clock was ahead.
    """
    identifier = os.urandom(4).hex()
    newest = max((_stamp_of(one.folder.name) for one in read_all(root)), default=datetime.min)
    stamp = max(datetime.now(UTC).replace(tzinfo=None), newest + timedelta(microseconds=1))
    folder = make_folder(root / "submissions" / f"{stamp.strftime(_STAMP)}-{identifier}")
    return Submission(folder), identifier


def _stamp_of(name: str) -> datetime:
    try:
        return datetime.strptime(name.rpartition("-")[0], _STAMP)
    except ValueError:
        return datetime.min


def write_intent(submission: Submission, intent: dict[str, Any]) -> None:
    """Say durably what is about to be sent."""
    write_atomic(submission.folder / "intent.json", to_json(intent))
    submission.__dict__.pop("intent", None)
