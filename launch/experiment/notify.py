"""The `notify:` section: who is told when an experiment is done, and by what. No part of any key."""

import re
import shlex
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from launch.experiment.fields import Form, Matching, Section, Text
from training.spec import Says

_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*(@[A-Za-z0-9][A-Za-z0-9.-]*)?")


def _mail(value: Any) -> Any:
    if value in ("true", "false"):
        return value == "true"
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise ValueError(f"'{value}' is neither true nor false nor an address such as me@example.org")
    return value


def _command(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, str):
        raise ValueError("expected a command: one line, or a list of its words")
    try:
        words = tuple(shlex.split(value))
    except ValueError:
        raise ValueError(f"a quote in {value!r} has no end; or write the command as a list of its words") from None
    if not words:
        raise ValueError("expected a command, such as notify-send stepstone")
    return words


class Notify(Section):
    """Who is told that an experiment is over."""

    mail: Annotated[
        Annotated[
            bool | str,
            BeforeValidator(_mail),
            Form("`true`, `false` or an address"),
        ],
        Says("slurm: one mail, by Slurm, when the last of what was sent has ended; `true`: to you", "true"),
    ] = False
    partition: Annotated[
        Annotated[str, Matching(r"[A-Za-z0-9_.,-]+", "the name of a partition")] | None,
        Says("where the last job runs, where `collect:` does not say", "cpu"),
    ] = None
    command: Annotated[
        Annotated[
            tuple[Text, ...],
            BeforeValidator(_command),
            Form("a command, as one line or a list of its words"),
        ],
        Says(
            "run where `submit --wait` or `watch` runs, for done, failed, and when equal failures hold the rest; no"
            " shell; gets a line as its last word, and `STEPSTONE_EVENT`",
            "notify-send stepstone",
        ),
    ] = ()


Event = Literal["done", "failed", "held"]
