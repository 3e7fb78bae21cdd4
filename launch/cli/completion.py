"""What a shell is told at every Tab: commands, options, experiment files, stages, recipes, targets, causes, tasks.

typer installs the shells' scripts (`--install-completion`), which call `stepstone` with `_STEPSTONE_COMPLETE` set. The
answer must not wait for typer's own imports, nor for a plan: the commands lie in the user's cache as a table, made anew
when the code is another one, and the names of an experiment beside it, kept by the commands that make its plan. Where
none are kept yet, the file and its store say some. Whatever goes wrong, nothing is said.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from launch.cli import completion_names, completion_table
from launch.cli.completion_table import Command, Value

VARIABLE = "_STEPSTONE_COMPLETE"
_SAFE_IN_BASH = re.compile(r"[^\w@%+=:,./~-]")


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
        table = completion_table.read()
    if table is not None:
        _leave(table)


def answer(commands: Callable[[], Any]) -> None:
    """The same with the commands at hand, which are remembered; returns where no shell asks."""
    if VARIABLE not in os.environ or "complete" not in os.environ[VARIABLE]:
        return
    table = Command("", {}, [], {})
    with suppress(Exception):
        table = completion_table.table_of(commands())
        completion_table.remember(table)
    _leave(table)


def _leave(table: Command) -> None:
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


def complete(table: Command, question: Question) -> Answer:
    """What may stand at the cursor. Pure, but for the experiment's names and the files that are there."""
    command, positionals, awaited_value = _walk(table, question.words)
    incomplete = question.incomplete
    if awaited_value is None and incomplete.startswith("--") and "=" in incomplete:
        option, _, value = incomplete.partition("=")
        suggestion = _of_value(command.options.get(option, Value()), value, positionals, question.words)
        return Answer([Candidate(f"{option}={c.value}", c.help) for c in suggestion.candidates])
    if awaited_value is not None:
        return _of_value(awaited_value, incomplete, positionals, question.words)
    if incomplete.startswith("-"):
        return Answer(_options(command, incomplete, question.words))
    if command.commands:
        listings = ((name, sub.help) for name, sub in command.commands.items() if name.startswith(incomplete))
        return Answer([Candidate(name, text) for name, text in listings])
    arguments = command.arguments
    if len(positionals) < len(arguments):
        return _of_value(arguments[len(positionals)], incomplete, positionals, question.words)
    if arguments and arguments[-1].many:
        return _of_value(arguments[-1], incomplete, positionals, question.words)
    return Answer(_options(command, incomplete, question.words))


def _walk(table: Command, words: Sequence[str]) -> tuple[Command, list[str], Value | None]:
    """The command that words lead to, the arguments given to it, and what an option at their end still awaits."""
    command: Command = table
    positionals: list[str] = []
    pending = iter(word for word in words if word != "=")  # which bash takes for a word of its own
    for word in pending:
        option = command.options.get(word)
        if option is not None:
            if option.takes_value and next(pending, None) is None:
                return command, positionals, option
        elif word in command.commands:
            command, positionals = command.commands[word], []
        elif not word.startswith("-"):
            positionals.append(word)
    return command, positionals, None


def _options(command: Command, incomplete: str, words: Sequence[str]) -> list[Candidate]:
    return [
        Candidate(spelling, option.help)
        for spelling, option in command.options.items()
        if spelling.startswith(incomplete or "--") and (option.many or spelling not in words)
    ]


def _of_value(value: Value, incomplete: str, positionals: Sequence[str], words: Sequence[str]) -> Answer:
    """What a value may be. Of one that is not known here the shell knows best."""
    if value.kind is None:
        return Answer([Candidate(word) for word in value.words if word.startswith(incomplete)])
    if value.kind == "file":
        return Answer([Candidate(path) for path in completion_names.files(incomplete)], files=True)
    file = next((word for word in (*positionals, *words) if word.endswith(completion_names.SUFFIXES)), None)
    file = file or next((word for word in positionals if os.path.isfile(word)), None)
    if file is None:
        return Answer([])
    names = completion_names.names(Path(os.path.expanduser(file)), value.kind, incomplete)
    return Answer([Candidate(name) for name in _few(names)])


def _few(sorted_names: Sequence[str]) -> list[str]:
    """As many as a person reads, with the last: what all have in common, first and last have too."""
    most = completion_names.MOST
    return list(sorted_names) if len(sorted_names) <= most else [*sorted_names[: most - 1], sorted_names[-1]]
