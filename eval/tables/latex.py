"""Sheets in LaTeX, with booktabs: a `table` environment each, ready for `\\input`."""

from collections.abc import Iterable, Sequence

from eval.tables.sheet import Entry, Sheet

# Letters that stand beside each other on the 345 pt of article's lines; further columns stand below, in the same
# environment. Digits are wider than most letters, so this is on the safe side.
_WIDTH = 68.0
_GAP = 1.8  # between columns, with the tabcolsep below
_SMALL = 0.8  # scriptsize beside small
_LETTERS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": r"{*}", '"': "''", "`": r"\textasciigrave{}",
    "±": r"$\pm$", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "†": r"$\dagger$", "…": r"\ldots{}",
    "·": r"$\cdot$", "–": "--", "—": "---", "→": r"$\rightarrow$",
}  # fmt: skip


def escaped(text: str) -> str:
    """`text` so that LaTeX prints it as it is. Letters that are not ASCII are left: pdfTeX has Latin ones."""
    return "".join(_LETTERS.get(letter, letter) for letter in text)


def latex(sheets: Sequence[Sheet]) -> str:
    """All sheets, one below the other."""
    return "% \\usepackage{booktabs}\n" + "\n".join(_table(sheet) for sheet in sheets)


def _table(sheet: Sheet) -> str:
    best = [f"Bold: {sheet.best_words}."] if sheet.has_best else []
    caption = " ".join([escaped(f"{sheet.title}."), *(_sentence(line) for line in sheet.caption), *best])
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        "\n\\par\\medskip\n".join(_tabular(sheet, start, stop) for start, stop in _parts(sheet)),
        f"\\caption{{{caption}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _parts(sheet: Sheet) -> list[tuple[int, int]]:
    """The columns that fit beside each other, from and to."""
    rows = (*sheet.rows, *sheet.references)
    labels = max((len(name) for name, _ in rows), default=0)
    widths = [
        max(len(column.name), len(column.detail), *(_letters(of_row[at]) for _, of_row in rows)) + _GAP
        for at, column in enumerate(sheet.columns)
    ]
    parts, start, width = [], 0, float(labels)
    for at, of_column in enumerate(widths):
        if at > start and width + of_column > _WIDTH:
            parts.append((start, at))
            start, width = at, float(labels)
        width += of_column
    return [*parts, (start, len(widths))]


def _letters(entry: Entry) -> float:
    return len(entry.number) + len(entry.dagger) + _SMALL * (len(entry.spread) + len(entry.mark)) + 1


def _sentence(line: str) -> str:
    text = escaped(line)
    if not line.split()[0].isalpha():  # a name with a colon, a mark
        return text + ("" if text.endswith(".") else ".")
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _tabular(sheet: Sheet, start: int, stop: int) -> str:
    columns = sheet.columns[start:stop]
    lines = [
        f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        _row("", [escaped(column.name) for column in columns]),
        _row("recipe", [escaped(column.detail) for column in columns]),
    ]
    for rows in sheet.by_model:
        lines += [r"\midrule", *(_row(escaped(name), map(_cell, of_row[start:stop])) for name, of_row in rows)]
    if sheet.references:
        lines.append(r"\midrule")
        lines += [_row(escaped(name), map(_cell, of_row[start:stop])) for name, of_row in sheet.references]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _row(name: str, texts: Iterable[str]) -> str:
    return " & ".join([name, *texts]) + r" \\"


def _cell(entry: Entry) -> str:
    if entry.value is None:
        return "--" if entry.note == "-" else escaped(entry.note)
    number = entry.number.replace("-", "$-$")
    spread = escaped(entry.spread).replace("-", "$-$")
    parts = (number, f"{{\\scriptsize {spread}}}" if spread else "", escaped(entry.dagger))
    text = " ".join(filter(None, parts))
    return (f"\\textbf{{{text}}}" if entry.best else text) + (f"$^{{{entry.mark}}}$" if entry.mark else "")
