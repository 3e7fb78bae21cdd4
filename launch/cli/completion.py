"""What a shell is told at every Tab: commands, options, experiment files, stages, recipes, targets, causes, tasks.

typer installs the shells' scripts (`--install-completion`), which call `stepstone` with `_STEPSTONE_COMPLETE` set. The
answer must not wait for typer's own imports, nor for a plan: the commands lie in the user's cache as a table, made anew
when the code is another one, and the names of an experiment beside it, kept by the commands that make its plan. Where
none are kept yet, the file and its store say some. Whatever goes wrong, nothing is said.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from launch.plan import Plan

VARIABLE = "_STEPSTONE_COMPLETE"
_SCHEMA = 1
_MOST = 200  # candidates that a shell is handed
_SUFFIXES = (".yaml", ".yml")
_SAFE_IN_BASH = re.compile(r"[^\w@%+=:,./~-]")
Table = dict[str, Any]  # of one command: help, options (by spelling: what its value is), arguments, commands


class Candidate(NamedTuple):
    """A word that may stand at the cursor."""

    value: str
    help: str = ""


class Question(NamedTuple):
    """The command line at the cursor."""

    words: list[str]  # before the one at the cursor, without `stepstone`
    incomplete: str  # that one, as far as it is written
    is_quoted: bool = False  # it begins with a quote


class Answer(NamedTuple):
    """What may stand there; `files`: the shell is to complete names of files itself."""

    candidates: list[Candidate]
    files: bool = False


# --- asked by a shell


def answer_from_cache() -> None:
    """Answer a shell and leave, where one asks and the table of commands is known. Imports next to nothing."""
    if VARIABLE not in os.environ or "complete" not in os.environ[VARIABLE]:
        return
    table = None
    with suppress(Exception):
        table = _read_table()
    if table is not None:
        _leave(table)


def answer(commands: Callable[[], Any]) -> None:
    """The same with the commands at hand, which are remembered; returns where no shell asks."""
    if VARIABLE not in os.environ or "complete" not in os.environ[VARIABLE]:
        return
    table: Table = {}
    with suppress(Exception):
        table = table_of(commands())
        _remember_table(table)
    _leave(table)


def _leave(table: Table) -> None:
    """Print the answer as the shell reads it. Without a word where anything is wrong: it would stand in the prompt."""
    code = 0
    with suppress(Exception):
        shell = os.environ[VARIABLE].rpartition("_")[2]
        question = _question(shell, os.environ)
        text, code = _in_words_of(shell, complete(table, question), question)
        sys.stdout.write(text)
        sys.stdout.flush()
    os._exit(code)


def _question(shell: str, environment: Any) -> Question:
    if shell == "bash":
        line = environment["COMP_WORDS"]
        raw_words = line.split("\n") if "\n" in line else _split(line)
        place = int(environment["COMP_CWORD"])
        incomplete = raw_words[place] if place < len(raw_words) else ""
        words = [_unquoted(word) for word in raw_words[1:place]]
        return Question(words, _unquoted(incomplete), incomplete[:1] in ("'", '"'))
    line = environment.get("_TYPER_COMPLETE_ARGS", "")
    raw_words = _split(line)
    incomplete = raw_words.pop() if len(raw_words) > 1 and not line[-1:].isspace() else ""
    return Question([_unquoted(word) for word in raw_words[1:]], _unquoted(incomplete), incomplete[:1] in ("'", '"'))


def _split(line: str) -> list[str]:
    """The words of a line as they are written; the last may lack its closing quote."""
    return re.findall(r"(?:\\.|'[^']*'?|\"[^\"]*\"?|[^\s'\"\\])+", line)


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)|['\"]", lambda match: match[1] or "", word)


def _in_words_of(shell: str, suggestion: Answer, question: Question) -> tuple[str, int]:
    """What the shell's script reads, and the exit code."""
    candidates = suggestion.candidates
    if shell == "bash":
        values = [
            candidate.value if question.is_quoted else _SAFE_IN_BASH.sub(r"\\\g<0>", candidate.value)
            for candidate in candidates
        ]
        return "\n".join(values), 0
    if shell == "zsh":
        return _in_words_of_zsh(suggestion), 0
    if os.environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return "", 0 if candidates else 1
    return "\n".join(f"{c.value}\t{c.help}" if c.help else c.value for c in candidates), 0


def _in_words_of_zsh(suggestion: Answer) -> str:
    """Code that zsh runs: every word of it that is not ours is quoted."""
    import shlex

    if suggestion.files:
        return "_files -g '*.(yaml|yml)(-.)'"
    if not suggestion.candidates:
        return "_files"
    if any(candidate.help for candidate in suggestion.candidates):
        pairs = (f"{c.value}:{c.help}" if c.help else c.value for c in suggestion.candidates)
        return f"local -a found; found=({' '.join(map(shlex.quote, pairs))}); _describe word found"
    return f"compadd -- {' '.join(shlex.quote(candidate.value) for candidate in suggestion.candidates)}"


# --- what may stand at the cursor


def complete(table: Table, question: Question) -> Answer:
    """What may stand at the cursor. Pure, but for the experiment's names and the files that are there."""
    command, positionals, value_kind = _walk(table, question.words)
    incomplete = question.incomplete
    if value_kind is None and incomplete.startswith("--") and "=" in incomplete:
        option, _, value = incomplete.partition("=")
        kind = command.get("options", {}).get(option, {}).get("kind")
        suggestion = _of_kind(kind, value, positionals, question.words)
        return Answer([Candidate(f"{option}={c.value}", c.help) for c in suggestion.candidates])
    if value_kind is not None:
        return _of_kind(value_kind, incomplete, positionals, question.words)
    if incomplete.startswith("-"):
        return Answer(_options(command, incomplete, question.words))
    if command.get("commands"):
        listings = ((name, sub["help"]) for name, sub in command["commands"].items() if name.startswith(incomplete))
        return Answer([Candidate(name, text) for name, text in listings])
    arguments = command.get("arguments", [])
    if len(positionals) < len(arguments):
        return _of_kind(arguments[len(positionals)]["kind"], incomplete, positionals, question.words)
    if arguments and arguments[-1]["many"]:
        return _of_kind(arguments[-1]["kind"], incomplete, positionals, question.words)
    return Answer(_options(command, incomplete, question.words))


def _walk(table: Table, words: Sequence[str]) -> tuple[Table, list[str], str | None]:
    """The command that words lead to, the arguments given to it, and what an option at their end still awaits."""
    command: Table = table
    positionals: list[str] = []
    pending = iter(word for word in words if word != "=")  # which bash takes for a word of its own
    for word in pending:
        option = command.get("options", {}).get(word)
        if option is not None:
            if option["takes_value"] and next(pending, None) is None:
                return command, positionals, option["kind"] or "nothing"
        elif word in command.get("commands", {}):
            command, positionals = command["commands"][word], []
        elif not word.startswith("-"):
            positionals.append(word)
    return command, positionals, None


def _options(command: Table, incomplete: str, words: Sequence[str]) -> list[Candidate]:
    return [
        Candidate(spelling, option["help"])
        for spelling, option in command.get("options", {}).items()
        if spelling.startswith(incomplete or "--") and (option["many"] or spelling not in words)
    ]


def _of_kind(kind: Any, incomplete: str, positionals: Sequence[str], words: Sequence[str]) -> Answer:
    """Words of a kind: `file`, `stage`, `recipe`, `target`, or a list of them. Of another kind the shell knows best."""
    if isinstance(kind, list):
        return Answer([Candidate(word) for word in kind if word.startswith(incomplete)])
    if kind == "file":
        return Answer([Candidate(path) for path in files(incomplete)], files=True)
    if kind not in ("stage", "recipe", "target"):
        return Answer([])
    file = next((word for word in (*positionals, *words) if word.endswith(_SUFFIXES)), None)
    file = file or next((word for word in positionals if os.path.isfile(word)), None)
    if file is None:
        return Answer([])
    return Answer([Candidate(name) for name in _few(names(Path(os.path.expanduser(file)), kind, incomplete))])


def _few(sorted_names: Sequence[str]) -> list[str]:
    """As many as a person reads, with the last: what all have in common, first and last have too."""
    return list(sorted_names) if len(sorted_names) <= _MOST else [*sorted_names[: _MOST - 1], sorted_names[-1]]


def files(incomplete: str) -> list[str]:
    """Experiment files whose path begins so, in the folder and those in it; hidden folders are left out."""
    head, tail = os.path.split(incomplete)
    folder = os.path.expanduser(head) or "."
    paths: list[str] = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not entry.name.startswith(tail) or (entry.name.startswith(".") and not tail.startswith(".")):
                continue
            path = os.path.join(head, entry.name)
            if entry.name.endswith(_SUFFIXES):
                paths.append(path)
            elif entry.is_dir():
                with suppress(OSError):
                    paths += [
                        os.path.join(path, name) for name in sorted(os.listdir(entry)) if name.endswith(_SUFFIXES)
                    ]
    return paths[:_MOST]


# --- the names of an experiment


def names(file: Path, kind: str, incomplete: str) -> list[str]:
    """Stages, recipes or targets of an experiment file that begin so, in order: as its plan was last, or, where it was
    not made since the file changed, as the file and its store say."""
    lines, is_current = _kept_names(file)
    if not is_current:
        with suppress(Exception):
            read_names = sorted({name for name in _read_names(file, kind) if name.startswith(incomplete)})
            if read_names:
                return read_names
    start = f"{kind[0]} {incomplete}"
    return [line[2:] for line in lines if line.startswith(start)]


def remember(plan: "Plan") -> None:
    """Keep the names of a plan for the next Tab. Never fails, and does nothing where they are kept."""
    from launch.experiment import recipes
    from slurm.base.files import make_folder, write_atomic

    file = plan.experiment.path
    with suppress(Exception):
        if _is_kept(file):
            return
        lines = {f"s {stage.name}" for stage in plan.stages.values()}
        lines |= {f"r {recipes.show(recipe)}" for recipe in plan.experiment.recipes}
        lines |= {f"t {target}" for target in plan.targets}
        path = _names_path(file)
        make_folder(path.parent)
        write_atomic(path, "\n".join([_stamp(file), *sorted(lines), ""]).encode())


def _kept_names(file: Path) -> tuple[list[str], bool]:
    try:
        head, _, body = _names_path(file).read_text(encoding="utf-8").partition("\n")
        return body.split("\n"), head == _stamp(file)
    except OSError:
        return [], False


def _is_kept(file: Path) -> bool:
    try:
        with _names_path(file).open(encoding="utf-8") as file_of_names:
            return file_of_names.readline().rstrip("\n") == _stamp(file)
    except OSError:
        return False


def _stamp(file: Path) -> str:
    status = os.stat(file)
    return f"{_SCHEMA} {status.st_mtime_ns} {status.st_size}"


def _names_path(file: Path) -> Path:
    import hashlib

    return _folder() / "names" / hashlib.sha256(os.path.abspath(file).encode()).hexdigest()[:24]


def _read_names(file: Path, kind: str) -> Iterator[str]:
    """Of a file of which no plan is kept: what it names, and of stages those that were ever sent in its store."""
    import yaml

    content = yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader)
    if kind == "stage":
        store = file.parent / os.path.expanduser(content["store"])
        yield from (name.rpartition("-")[0] for name in os.listdir(store / "stages") if not name.startswith("."))
    else:
        yield from content[f"{kind}s"]


# --- the table of commands


def table_of(command: Any) -> Table:
    """A command of typer's, and those below it, as far as completion needs them."""
    options: dict[str, Any] = {}
    arguments: list[dict[str, Any]] = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            arguments.append({"kind": _kind(command.name, parameter), "many": parameter.nargs == -1})
        else:
            record = {
                "kind": _kind(command.name, parameter),
                "takes_value": not (getattr(parameter, "is_flag", False) or getattr(parameter, "count", False)),
                "many": bool(getattr(parameter, "multiple", False)),
                "help": getattr(parameter, "help", None) or "",
            }
            options |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), record)
    options["--help"] = {"kind": None, "takes_value": False, "many": False, "help": "Show this message and exit."}
    subcommands = getattr(command, "commands", {})
    return {
        "help": command.get_short_help_str(1000),
        "options": options,
        "arguments": arguments,
        "commands": {name: table_of(sub) for name, sub in subcommands.items() if not sub.hidden},
    }


def _kind(command: str | None, parameter: Any) -> Any:
    """What a value is; None: nothing that is known here."""
    name, metavar = parameter.name or "", (parameter.metavar or "").strip("[].… ")
    if metavar == "FILE" or (name == "file" and parameter.param_type_name == "option"):
        return "file"
    for kind in ("stage", "recipe", "target"):
        if metavar == kind.upper() or name in (kind, f"{kind}s"):
            return kind
    if metavar == "CAUSE" or name in ("cause", "causes"):
        return _causes()
    if (command, name) == ("tasks", "name"):
        return _tasks()
    return {"profile": ["xtreme", "corrected"], "average": ["xtreme", "xtreme-r", "xtreme-r-f1"]}.get(
        name, [str(choice) for choice in getattr(parameter.type_descriptor, "choices", None) or ()] or None
    )


def _causes() -> list[str]:
    from slurm.causes import CAUSES

    return list(CAUSES)


def _tasks() -> list[str]:
    from training.tasks import catalogue

    return sorted(catalogue.names())


def _read_table() -> Table | None:
    record = json.loads((_folder() / "commands.json").read_bytes())
    table: Table | None = record["table"] if record["code"] == _code() else None
    return table


def _remember_table(table: Table) -> None:
    from slurm.base.files import make_folder, to_json, write_atomic

    make_folder(_folder())
    write_atomic(_folder() / "commands.json", to_json({"code": _code(), "table": table}))


def _code() -> list[Any]:
    """Tells whether the commands may be others: the Python, and the files that declare them."""
    here = os.path.dirname(os.path.abspath(__file__))
    with os.scandir(here) as entries:
        stamps = sorted((e.name, e.stat().st_mtime_ns, e.stat().st_size) for e in entries if e.name.endswith(".py"))
    return [_SCHEMA, sys.prefix, here, [list(stamp) for stamp in stamps]]


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepstone" / "completion"
