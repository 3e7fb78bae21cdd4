"""A process that fetches from a Hub and says how it went: tasks as JSON lines on stdin, outcomes on stdout.

The libraries read `HF_ENDPOINT` and `HF_HOME` once, as they are imported, so no test can do this in its own process.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

WAITS_ARE = 0.01  # of what the libraries would wait before they try again


@dataclass(frozen=True)
class Order:
    """What to fetch: a split, or a model (`split` is empty). `task`, `language`: then read it, as this task's; `token`:
    of who asks."""

    name: str
    repo: str
    revision: str
    config: str | None = None
    split: str = ""
    task: str = ""
    language: str = ""
    token: str = ""


@dataclass(frozen=True)
class Outcome:
    """`error`: the line that a user would see. `labels`, `texts`: of what was read."""

    name: str
    error: str = ""
    rows: int = 0
    labels: tuple[str, ...] = ()
    seconds: float = 0.0


def main() -> None:
    """Carry out the orders one after another."""
    _wait_less()
    for line in sys.stdin:
        order = Order(**json.loads(line))
        os.environ["HF_TOKEN"] = order.token
        started = time.monotonic()
        outcome = replace(_carried_out(order), seconds=time.monotonic() - started)
        print(json.dumps(asdict(outcome)), flush=True)


def _wait_less() -> None:
    import huggingface_hub.constants
    import huggingface_hub.file_download
    import huggingface_hub.utils._http

    class _Time:
        """The module `time`, hasty."""

        def __getattr__(self, name: str) -> Any:
            return getattr(time, name)

        def sleep(self, seconds: float) -> None:
            time.sleep(seconds * WAITS_ARE)

    for module in (huggingface_hub.file_download, huggingface_hub.utils._http):
        module.time = _Time()  # type: ignore[attr-defined]
    huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1000  # else a miniature is one piece, and nothing is gone on with


def _carried_out(order: Order) -> Outcome:
    from slurm.base import UserError
    from training import formats
    from training.data import hub
    from training.pretrained.start import start_model_folder
    from training.spec import HubPart
    from training.tasks import find

    try:
        if not order.split:
            start_model_folder(order.repo, order.revision)
            return Outcome(order.name)
        part = HubPart(order.repo, order.revision, order.config, order.split)
        hub.fetch(part)
        if not order.task:
            return Outcome(order.name)
        task = replace(find(order.task), sizes={})  # miniatures
        examples = hub.examples(part, formats.get(task.format), task, order.language)
        return Outcome(order.name, rows=len(examples), labels=tuple(str(getattr(e, "label", "")) for e in examples))
    except UserError as error:
        return Outcome(order.name, error=str(error))


if __name__ == "__main__":
    main()
