"""What doctor tells: a line per thing that was looked at."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "warning", "error"]
SCHEMA = 1


@dataclass(frozen=True)
class Line:
    """One thing that was looked at. `fix` is empty where all is well."""

    level: Level
    what: str
    found: str
    fix: str = ""


def to_record(lines: list[Line]) -> dict[str, Any]:
    """The contract of `stepstone doctor --json`."""
    return {"schema": SCHEMA, "lines": [asdict(line) for line in lines]}
