"""Submissions: what was sent, known from disk. An intent before, a receipt per array after.

submissions/<time>-<id>/  intent.json  manifest-<n>.json  sending-<n>.json  receipt-<n>.json  cancelled-*.json
                          throttle-<n>.json  collect.json  logs/<n>/  local/
"""

import os
import re
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from launch.store import records
from slurm import local
from slurm.base import look
from slurm.base.files import make_folder, to_json, write_atomic, write_once

_STAMP = "%Y%m%d-%H%M%S.%f"  # of UTC, so that clocks may go back an hour
_LOG = re.compile(r"\d+_log\..*")  # of one task: `12_3_0_log.err`


@dataclass(frozen=True)
class IntendedArray:
    """An array that was to be sent."""

    name: str  # of its job, by which it is found again
    elements: dict[int, list[str]]  # by array index: the keys of the stages that it runs, in order
    dependency: Mapping[str, object] | None = None  # as drafted; it stays for people who look
    throttle: int | None = None  # elements that may run at the same time; None: all
    changes: Mapping[str, object] | None = None  # from the file's resources, as drafted; the same
    # Of elements whose stages run in several processes side by side: how many of the keys, in order, each has.
    lanes: dict[int, list[int]] = field(default_factory=dict)

    @property
    def keys(self) -> set[str]:
        """Of its stages."""
        return {key for keys in self.elements.values() for key in keys}


@dataclass(frozen=True)
class Intent:
    """What was to be sent."""

    id: str = ""  # eight hex digits, part of its arrays' names
    experiment: str = ""
    executor: str = ""  # "slurm" or "local"
    since: str = ""  # from when accounting is asked for its arrays, in Slurm's notation
    code: str = ""  # hash of the code that its jobs run
    arrays: tuple[IntendedArray, ...] = ()
    schema: Literal[1] = 1


@dataclass(frozen=True)
class Receipt:
    """What became of an array: one of the first five."""

    job: str | None = None  # Slurm has it under this id
    local: bool = False  # local workers have it
    refused: str | None = None  # sbatch's words, or why it was not tried
    held: str | None = None  # a limit's words: there was no room
    lost: bool = False  # its submitter died before it was sent
    adopted: bool = False  # found by its name, after its submitter had died
    throttle: int | None = None  # elements that may run at the same time; None: all
    time: float | None = None  # when this was known (Unix time)

    @property
    def was_sent(self) -> bool:
        """Whether Slurm, or local workers, got it. Else nothing of it ever runs."""
        return self.refused is None and self.held is None and not self.lost


@dataclass(frozen=True)
class SendingNote:
    """That sbatch is at work for an array, or was."""

    time: float
    host: str | None = None
    left: bool = False  # sbatch was given up: it left open whether Slurm has the array


@dataclass(frozen=True)
class ThrottleNote:
    """That an array's throttle was changed after it was sent."""

    throttle: int | None
    time: float | None = None


@dataclass(frozen=True)
class CancelledNote:
    """Which elements a person has cancelled: (array, index)."""

    elements: tuple[tuple[int, int], ...] = ()
    time: float | None = None


_INTENT, _RECEIPT, _SENDING = TypeAdapter(Intent), TypeAdapter(Receipt), TypeAdapter(SendingNote)
_THROTTLE, _CANCELLED = TypeAdapter(ThrottleNote), TypeAdapter(CancelledNote)
_NOTHING_INTENDED = Intent()


@dataclass(frozen=True)
class Location:
    """Where a stage was last sent."""

    submission: "Submission"
    array: int
    index: int
    stage: str | None = field(default=None, compare=False)  # key of the one that is asked about

    @property
    def place(self) -> tuple[int, int]:
        """(array, index)"""
        return self.array, self.index

    @property
    def keys(self) -> list[str]:
        """Of all stages that the element was sent with."""
        return self.submission.arrays[self.array].elements[self.index]

    @property
    def lane(self) -> int | None:
        """Of an element whose stages run side by side: which of its processes has the stage that is asked about."""
        sizes = self.submission.arrays[self.array].lanes.get(self.index)
        if not sizes or self.stage is None:
            return None
        place = self.keys.index(self.stage)
        return next(lane for lane, end in enumerate(accumulate(sizes)) if place < end)

    @property
    def keys_of_lane(self) -> list[str]:
        """Of the stages that the same process runs, one after the other."""
        lane = self.lane
        if lane is None:
            return self.keys
        sizes = self.submission.arrays[self.array].lanes[self.index]
        begin = sum(sizes[:lane])
        return self.keys[begin : begin + sizes[lane]]

    @property
    def job(self) -> str | None:
        """The array's job id; None before its receipt and for local workers."""
        receipt = self.submission.receipt(self.array)
        return receipt.job if receipt else None

    @property
    def sent(self) -> float | None:
        """When the receipt was written (Unix time); None before."""
        receipt = self.submission.receipt(self.array)
        return receipt.time if receipt else None

    @property
    def sending(self) -> float | None:
        """When sbatch, or the workers, were last called for it (Unix time); None: never."""
        note = self.submission.sending(self.array)
        return note.time if note else None

    @property
    def name(self) -> str:
        """The array's job name."""
        return self.submission.arrays[self.array].name

    @property
    def is_cancelled(self) -> bool:
        """Whether `stepstone cancel` was told to end it."""
        return (self.array, self.index) in self.submission.cancelled


@dataclass(frozen=True)
class Submission:
    """One act of sending. What was read stays as read: make a new one per look."""

    folder: Path
    _receipts: dict[int, Receipt] = field(default_factory=dict, compare=False, repr=False)
    _listings: dict[Path, dict[str, list[str]]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def intent(self) -> Intent:
        """What was to be sent; empty where the submitter died before it said so: then nothing was."""
        return records.read(self.folder / "intent.json", _INTENT) or _NOTHING_INTENDED

    @property
    def arrays(self) -> tuple[IntendedArray, ...]:
        return self.intent.arrays

    @property
    def keys(self) -> set[str]:
        """Of all stages that were to be sent."""
        return {key for array in self.arrays for keys in array.elements.values() for key in keys}

    @property
    def is_last_job(self) -> bool:
        """Whether it is no stage's, but the job that waits for all others (`launch.submit.last_job`)."""
        return bool(self.arrays) and not self.keys

    def receipt(self, array: int) -> Receipt | None:
        """What became of an array; None: it is not known."""
        if array not in self._receipts:
            receipt = records.read(self.folder / f"receipt-{array}.json", _RECEIPT)
            if receipt is None:
                return None
            self._receipts[array] = receipt
        return self._receipts[array]

    def write_receipt(self, array: int, receipt: Receipt) -> None:
        """The first receipt of an array stays."""
        record = records.without_defaults(replace(receipt, time=time.time()))
        if receipt.job is not None:
            record["throttle"] = receipt.throttle  # said of what Slurm has, also where it is none
        write_once(self.folder / f"receipt-{array}.json", to_json(record))

    def write_sending(self, array: int, *, left: bool = False) -> None:
        """Say that sbatch is called now, or was just left: from then on Slurm may have the array."""
        note = SendingNote(time.time(), socket.gethostname(), left)
        write_atomic(self.folder / f"sending-{array}.json", to_json(asdict(note)))

    def sending(self, array: int) -> SendingNote | None:
        """When and where sbatch was last at work for an array; None: it was never called."""
        return records.read(self.folder / f"sending-{array}.json", _SENDING)

    def throttle(self, array: int) -> int | None:
        """How many elements of an array may run at the same time; None: all."""
        last = records.read(self.folder / f"throttle-{array}.json", _THROTTLE) or self.receipt(array)
        return last.throttle if last else None

    def write_throttle(self, array: int, count: int | None) -> None:
        """Note that an array's throttle was changed after it was sent."""
        write_atomic(self.folder / f"throttle-{array}.json", to_json(asdict(ThrottleNote(count, time.time()))))

    @cached_property
    def cancelled(self) -> set[tuple[int, int]]:
        """The (array, index) of elements that `stepstone cancel` was told to end."""
        try:
            names = [name for name in look.names(self.folder) if name.startswith("cancelled-")]
        except FileNotFoundError:
            return set()
        notes = [records.read(self.folder / name, _CANCELLED) for name in names]
        return {element for note in notes if note is not None for element in note.elements}

    def record_cancelled(self, elements: Iterable[tuple[int, int]]) -> None:
        """Note, before anything is ended, which elements a person has cancelled."""
        note = CancelledNote(tuple(sorted(elements)), time.time())
        write_atomic(self.folder / f"cancelled-{uuid.uuid4().hex}.json", to_json(asdict(note)))
        self.__dict__.pop("cancelled", None)

    def manifest(self, array: int) -> Path:
        return self.folder / f"manifest-{array}.json"

    def logs(self, array: int) -> Path:
        return self.folder / "logs" / str(array)

    @property
    def executor(self) -> Literal["slurm", "local"]:
        """What runs its elements."""
        return "local" if self.intent.executor == "local" else "slurm"

    def listing(self, folder: Path) -> dict[str, list[str]]:
        """Names of the logs in a folder, by the beginning that an element's have in common (`12_3_`). Listed once."""
        if folder not in self._listings:
            names: dict[str, list[str]] = {}
            for name in look.names(folder) if look.exists(folder) else []:
                names.setdefault(_LOG.sub("", name), []).append(name)
            self._listings[folder] = names
        return self._listings[folder]

    def look_again(self) -> None:
        """Forget which logs there were: more may be there by now."""
        self._listings.clear()

    def local_element(self, array: int, index: int) -> int:
        """The number of an element in the local run, which has no arrays."""
        return self._local_numbers[array, index]

    @cached_property
    def _local_numbers(self) -> dict[tuple[int, int], int]:
        places = [(n, index) for n, array in enumerate(self.arrays) for index in sorted(array.elements)]
        return {place: number for number, place in enumerate(places)}

    def local_state(self, array: int, index: int) -> str:
        return local.element_state(self.folder / "local", self.local_element(array, index))


def read_all(root: Path) -> list[Submission]:
    """Every submission in a store, the oldest first."""
    try:
        names = [name for name in look.names(root / "submissions") if not name.startswith((".", "lock"))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [Submission(root / "submissions" / name) for name in names]


def locate(submissions: list[Submission]) -> dict[str, Location]:
    """By stage key: where it was last sent. Arrays that were not sent in the end do not count."""
    locations: dict[str, Location] = {}
    for submission in submissions:
        for number, array in enumerate(submission.arrays):
            receipt = submission.receipt(number)
            if receipt is not None and not receipt.was_sent:
                continue
            for index, keys in array.elements.items():
                if index in array.lanes:
                    locations.update({key: Location(submission, number, index, key) for key in keys})
                else:
                    locations.update(dict.fromkeys(keys, Location(submission, number, index)))
    return locations


def new_folder(root: Path) -> tuple[Submission, str]:
    """Make an empty submission and its id of eight hex digits, which travels in its jobs' names.

    For who holds the lock: its name sorts after all that are there, though another login node's clock was ahead.
    """
    identifier = os.urandom(4).hex()
    newest = max((_stamp_of(submission.folder.name) for submission in read_all(root)), default=datetime.min)
    stamp = max(datetime.now(UTC).replace(tzinfo=None), newest + timedelta(microseconds=1))
    folder = make_folder(root / "submissions" / f"{stamp.strftime(_STAMP)}-{identifier}")
    return Submission(folder), identifier


def _stamp_of(name: str) -> datetime:
    try:
        return datetime.strptime(name.rpartition("-")[0], _STAMP)
    except ValueError:
        return datetime.min


def write_intent(submission: Submission, intent: Intent) -> None:
    """Say durably what is about to be sent."""
    arrays = [_array_record(array) for array in intent.arrays]
    write_atomic(submission.folder / "intent.json", to_json(vars(intent) | {"arrays": arrays}))
    submission.__dict__.pop("intent", None)


def _array_record(array: IntendedArray) -> dict[str, object]:
    record = vars(array) | {"elements": {str(i): keys for i, keys in array.elements.items()}}
    lanes = {str(i): sizes for i, sizes in array.lanes.items()}
    return {name: value for name, value in (record | {"lanes": lanes}).items() if value or name != "lanes"}
