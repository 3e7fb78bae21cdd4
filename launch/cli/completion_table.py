"""The commands as completion needs them, kept in the user's cache: to import typer takes longer than a Tab may."""

import json
import os
import sys
from typing import Any, NamedTuple

from launch.cli import completion_names

_SCHEMA = 2


class Value(NamedTuple):
    """What an option or an argument takes.

    `kind`: `file`, `stage`, `recipe` or `target`; else the `words` that it may be; neither: it is not known here.
    """

    kind: str | None = None
    words: tuple[str, ...] = ()
    takes_value: bool = True  # False: a flag
    many: bool = False
    help: str = ""


class Command(NamedTuple):
    """A command, or all of them."""

    help: str
    options: dict[str, Value]  # by spelling
    arguments: list[Value]
    commands: dict[str, "Command"]  # below it, by name


def table_of(command: Any) -> Command:
    """A command of typer's, and those below it, as far as completion needs them."""
    options: dict[str, Value] = {}
    arguments: list[Value] = []
    for parameter in command.params:
        value = _value(command.name, parameter)
        if parameter.param_type_name == "argument":
            arguments.append(value._replace(many=parameter.nargs == -1))
            continue
        option = value._replace(
            takes_value=not (getattr(parameter, "is_flag", False) or getattr(parameter, "count", False)),
            many=bool(getattr(parameter, "multiple", False)),
            help=getattr(parameter, "help", None) or "",
        )
        options |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), option)
    options["--help"] = Value(takes_value=False, help="Show this message and exit.")
    commands = {name: table_of(sub) for name, sub in getattr(command, "commands", {}).items() if not sub.hidden}
    return Command(command.get_short_help_str(1000), options, arguments, commands)


def _value(command: str | None, parameter: Any) -> Value:
    name, metavar = parameter.name or "", (parameter.metavar or "").strip("[].… ")
    if metavar == "FILE" or (name == "file" and parameter.param_type_name == "option"):
        return Value("file")
    for kind in ("stage", "recipe", "target"):
        if metavar == kind.upper() or name in (kind, f"{kind}s"):
            return Value(kind)
    return Value(words=tuple(_words(command, name, metavar, parameter)))


def _words(command: str | None, name: str, metavar: str, parameter: Any) -> list[str]:
    """All that a value may be; empty: not known."""
    if metavar == "CAUSE" or name in ("cause", "causes"):
        from slurm.causes import CAUSES

        return list(CAUSES)
    if (command, name) == ("tasks", "name"):
        from training.tasks import catalogue

        return sorted(catalogue.names())
    if (command, name) == ("study", "name"):
        from eval.studies import STUDIES

        return [study.name for study in STUDIES]
    if name == "profile":
        return ["xtreme", "corrected"]
    if name == "average":
        return ["xtreme", "xtreme-r", "xtreme-r-f1"]
    return [str(choice) for choice in getattr(parameter.type_descriptor, "choices", None) or ()]


def read() -> Command | None:
    """What was remembered; None: of other commands than these."""
    record = json.loads((completion_names.folder() / "commands.json").read_bytes())
    return _command(record["table"]) if record["code"] == _code() else None


def remember(table: Command) -> None:
    """Keep it for the next Tab."""
    from slurm.base.files import make_folder, to_json, write_atomic

    make_folder(completion_names.folder())
    write_atomic(completion_names.folder() / "commands.json", to_json({"code": _code(), "table": table}))


def _command(record: list[Any]) -> Command:
    text, options, arguments, commands = record
    return Command(
        text,
        {spelling: Value(*value) for spelling, value in options.items()},
        [Value(*value) for value in arguments],
        {name: _command(of_command) for name, of_command in commands.items()},
    )


def _code() -> list[Any]:
    """Tells whether the commands may be others: the Python, and the files that declare them."""
    here = os.path.dirname(os.path.abspath(__file__))
    with os.scandir(here) as entries:
        stamps = sorted((e.name, e.stat().st_mtime_ns, e.stat().st_size) for e in entries if e.name.endswith(".py"))
    return [_SCHEMA, sys.prefix, here, [list(stamp) for stamp in stamps]]
