"""A submitter that is killed as it sends something."""

from collections.abc import Callable
from typing import Any

import pytest

from launch import submit
from launch.plan import Plan
from slurm import arrays


def while_sending(plan: Plan, moment: str, is_meant: Callable[[Any], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Submit; killed when sbatch is called for what is meant, before or after Slurm took it."""
    send = arrays.send

    def killed(asked: Any, *rest: Any) -> str:
        if is_meant(asked):
            if moment == "after":
                send(asked, *rest)
            raise KeyboardInterrupt
        return send(asked, *rest)

    monkeypatch.setattr(arrays, "send", killed)
    with pytest.raises(KeyboardInterrupt):
        submit.submit(plan)
    monkeypatch.setattr(arrays, "send", send)
    monkeypatch.setattr("launch.submit.orphans.SETTLE_SECONDS", 0.0)
