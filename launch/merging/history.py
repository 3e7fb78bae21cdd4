"""The table as it was at the end of each day on which it changed, so that two dates can be compared.

results/<experiment>/history/2026-11-27.parquet   days are UTC's; nothing here is ever removed
"""

import re
from datetime import UTC, date, datetime
from pathlib import Path

from slurm.base import UsageError, look
from slurm.base.files import make_folder, write_atomic

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_ENDING = ".parquet"


def is_day(text: str) -> bool:
    """Whether it is written as one: 2026-11-27."""
    return _DAY.fullmatch(text) is not None


def keep(results_folder: Path, content: bytes) -> None:
    """Remember a table as today's, in place of an earlier one of the same day."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    write_atomic(make_folder(results_folder / "history") / f"{today}{_ENDING}", content)


def of_day(results_folder: Path, day: str) -> Path:
    """The table as it stood at the end of a day: the last one that was kept until then. UsageError where there is
    none, or no such day."""
    try:
        date.fromisoformat(day)
    except ValueError as error:
        raise UsageError(f"{day}: {error}; days are written 2026-11-20") from None
    days = _days(results_folder / "history")
    until_then = [kept_day for kept_day in days if kept_day <= day]
    if not until_then:
        kept_days = f"the first is of {days[0]}" if days else "`stepstone collect` keeps one a day from now on"
        raise UsageError(f"{day}: there is no table of that day or one before; {kept_days}")
    return results_folder / "history" / f"{until_then[-1]}{_ENDING}"


def _days(folder: Path) -> list[str]:
    try:
        names = look.names(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING) and is_day(name[: -len(_ENDING)])]
