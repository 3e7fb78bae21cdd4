"""Sheets as comma-separated values, one line a cell: numbers unrounded, for other programs."""

import csv
from collections.abc import Sequence
from io import StringIO

from eval.tables.sheet import STATISTICS, Sheet, as_records

_FIELDS = (
    "table", "row", "model", "column", "metric", "kind", "score", "difference", "error", "low", "high", "adjusted_p",
    *STATISTICS, "over_examples", "mark", "best", "seeds", "diverged", "missing", "note",
)  # fmt: skip


def long_csv(sheets: Sequence[Sheet]) -> str:
    """What `eval.tables.sheet.as_records` gives, with a heading."""
    text = StringIO()
    writer = csv.DictWriter(text, _FIELDS, lineterminator="\n")
    writer.writeheader()
    for sheet in sheets:
        for record in as_records(sheet):
            truths = {name: str(record[name]).lower() for name in ("best", "over_examples")}
            writer.writerow(record | truths)
    return text.getvalue()
