"""Sheets in LaTeX, with booktabs: a `table` environment each, ready for `\\input`."""

from collections.abc import Sequence

from eval.tables.sheet import Column, Entry, Sheet

_ACROSS = 8  # columns beside each other; what is more stands below, in the same environment
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
    parts = [sheet.columns[start : start + _ACROSS] for start in range(0, len(sheet.columns), _ACROSS)]
    best = ["Bold: the best of its column."] if sheet.has_best else []
    caption = " ".join([escaped(f"{sheet.title}."), *(_sentence(line) for line in sheet.caption), *best])
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\small",
        "\n\\par\\medskip\n".join(_tabular(sheet, start * _ACROSS, part) for start, part in enumerate(parts)),
        f"\\caption{{{caption}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _sentence(line: str) -> str:
    text = escaped(line)
    if not line.split()[0].isalpha():  # a name with a colon, a mark
        return text + ("" if text.endswith(".") else ".")
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _tabular(sheet: Sheet, start: int, columns: Sequence[Column]) -> str:
    stop = start + len(columns)
    lines = [
        f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        _row("", [escaped(column.name) for column in columns]),
        _row("recipe", [escaped(column.detail) for column in columns]),
        r"\midrule",
        *(_row(escaped(name), map(_cell, of_row[start:stop])) for name, of_row in sheet.rows),
    ]
    if sheet.references:
        lines.append(r"\midrule")
        lines += [_row(escaped(name), map(_cell, of_row[start:stop])) for name, of_row in sheet.references]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _row(name: str, texts: Sequence[str] | map) -> str:  # type: ignore[type-arg]
    return " & ".join([name, *texts]) + r" \\"


def _cell(entry: Entry) -> str:
    if entry.value is None:
        return "--" if entry.note == "-" else escaped(entry.note)
    number = entry.number.replace("-", "$-$")
    text = " ".join(filter(None, (number, escaped(entry.spread).replace("-", "$-$"), escaped(entry.dagger))))
    return (f"\\textbf{{{text}}}" if entry.best else text) + (f"$^{{{entry.mark}}}$" if entry.mark else "")
