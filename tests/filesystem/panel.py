"""How a test and a mount's process speak: a page of memory in a file, and beside it what the mount is told, as JSON."""

import json
import math
import mmap
import os
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

_SIZE = 4096
_CLOCK, _VERSION, _CALLS, _FIRED = range(0, 32, 8)


@dataclass(frozen=True)
class Settings:
    """What the file system is like."""

    seconds: float = 2.0  # that names (also of what is not there), attributes and listings are believed
    looks_again: bool = True  # opening a folder shows what is in it, as NFS does unless it is mounted `nocto`
    hard_links: bool = True
    journal: str = ""  # file in which every change is noted, for power cuts; empty: none


@dataclass(frozen=True)
class Fault:
    """What happens at calls of the server. `calls` and `paths` are patterns (fnmatch); paths begin with a slash.

    Calls: lookup readlink open create read write sync mkdir link symlink rename unlink rmdir readdir setattr.
    """

    calls: str = "*"
    paths: str = "*"
    error: int = 0  # errno; 0: none
    lost: bool = (
        False  # it is carried out, and the reply lost: then `error` is said, or, where 0, the client asks again
    )
    seconds: float = 0.0  # that the call takes
    skip: int = 0  # matching calls that go well before
    times: int = 1  # then so many do not; -1: all


class Panel:
    """Shared by a test and one mount."""

    def __init__(self, path: Path, *, make: bool = False) -> None:
        self.told = path.with_suffix(".json")
        if make:
            path.write_bytes(struct.pack("d", math.nan).ljust(_SIZE, b"\0"))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _SIZE)

    @property
    def clock(self) -> float | None:
        """Seconds, where a test says what time it is."""
        (now,) = struct.unpack_from("d", self._page, _CLOCK)
        return None if math.isnan(now) else float(now)

    @clock.setter
    def clock(self, now: float | None) -> None:
        struct.pack_into("d", self._page, _CLOCK, math.nan if now is None else now)

    def _number(self, place: int) -> int:
        (number,) = struct.unpack_from("Q", self._page, place)
        return int(number)

    def _add(self, place: int) -> None:
        struct.pack_into("Q", self._page, place, self._number(place) + 1)

    @property
    def version(self) -> int:
        return self._number(_VERSION)

    @property
    def calls(self) -> int:
        """Of the server, so far."""
        return self._number(_CALLS)

    @property
    def fired(self) -> int:
        """Faults that happened, so far."""
        return self._number(_FIRED)

    def count(self, *, fired: bool = False) -> None:
        self._add(_FIRED if fired else _CALLS)

    def tell(self, settings: Settings, faults: list[Fault]) -> None:
        """From the mount's next call on."""
        content = {"settings": asdict(settings), "faults": [asdict(fault) for fault in faults]}
        temporary = self.told.with_suffix(".tmp")
        temporary.write_text(json.dumps(content))
        os.replace(temporary, self.told)
        self._add(_VERSION)

    def read(self) -> tuple[Settings, list[Fault]]:
        content = json.loads(self.told.read_bytes())
        return Settings(**content["settings"]), [Fault(**fault) for fault in content["faults"]]
