"""Names that say nothing: `found`, `made`, `own`. `make lint` counts them, and the share may only fall.

A local variable or a parameter is named by what it *is* (`missing_stages`, `blocked_reasons`), not by what was done to
it or by a pronoun. Counted are the names that functions bind, each once per function: participles that stand alone
(`packed`; `packed_rows` names a thing) and pronouns. Attributes, constants and public definitions are not counted.

    python -m tests.names           the share, and an error where it is over the limit
    python -m tests.names FILE …    where they stand in these files
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.paths import ROOT

# Of all names that functions bind, in percent. It only falls: lower it when `python -m tests.names` says so.
LIMIT = 0.2

PRONOUNS = frozenset((
    "all", "another", "any", "both", "each", "either", "everything", "it", "itself", "mine", "most", "neither",
    "none", "nothing", "one", "other", "others", "own", "rest", "same", "some", "something", "such", "that",
    "them", "these", "this", "those", "what", "which", "whole", "who",
))  # fmt: skip
PARTICIPLES = frozenset((
    "begun", "bound", "bought", "brought", "built", "chosen", "come", "cut", "done", "drawn", "driven",
    "fallen", "found", "frozen", "given", "gone", "held", "hit", "kept", "known", "laid", "left", "lost",
    "made", "met", "named", "opened", "paid", "put", "said", "seen", "sent", "shown", "shut", "spread", "spent",
    "stood", "taken", "thought", "told", "torn", "understood", "wanted", "written",
))  # fmt: skip
_NOUNS = frozenset(("embed", "exceed", "speed"))  # that end like one


def says_nothing(name: str) -> bool:
    """Whether a name is a pronoun or a lone participle; a trailing underscore does not help it."""
    word = name.strip("_").lower()
    if word in PRONOUNS or word in PARTICIPLES:
        return True
    return "_" not in word and word.endswith("ed") and word not in _NOUNS and len(word) > 4


def bound_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, int]]:
    """(name, line) of each name that a function binds, its parameters too, once; not those of functions inside it."""
    first: dict[str, int] = {}
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        first.setdefault(argument.arg, argument.lineno)
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            first.setdefault(node.id, node.lineno)
        elif isinstance(node, ast.Lambda):
            for argument in node.args.args:
                first.setdefault(argument.arg, argument.lineno)
        pending.extend(ast.iter_child_nodes(node))
    yield from first.items()


def names_of(path: Path) -> list[tuple[str, int]]:
    """(name, line) of all names that the functions of a file bind."""
    functions = (
        n
        for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    return [entry for function in functions for entry in bound_names(function) if entry[0] not in ("self", "cls", "_")]


def main(arguments: list[str]) -> int:
    paths = [Path(argument) for argument in arguments] or [
        path for package in ("launch", "training", "eval", "slurm") for path in sorted((ROOT / package).rglob("*.py"))
    ]
    names = {path: names_of(path) for path in paths}
    empty = [(path, line, name) for path, entries in names.items() for name, line in entries if says_nothing(name)]
    if arguments:
        for path, line, name in sorted(empty):
            print(f"{path}:{line}: {name}")
    total = sum(len(entries) for entries in names.values())
    share = 100 * len(empty) / max(total, 1)
    frequent = ", ".join(f"{name} {count}" for name, count in Counter(name for _, _, name in empty).most_common(8))
    print(f"{len(empty)} of {total} names that functions bind say nothing: {share:.1f} % ({frequent}); limit {LIMIT} %")
    return int(not arguments and share > LIMIT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
