"""TODO."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from launch.experiment.fields import Number, Section, Whole, YesNo
from slurm.causes import Cause

# As the file would say it; a cause that the file names changes only what it names.
_DEFAULTS: dict[str, dict[str, str]] = {
    "host-oom": {"retry": "2", "mem": "1.5"},
    "cuda-oom": {"retry": "2", "token-budget": "0.5"},
    "time": {"retry": "3", "time": "1.5"},
    "preempted": {"retry": "100"},
    "node": {"retry": "3", "exclude": "true"},
    "nccl": {"retry": "2", "exclude": "true"},
    "disk": {"retry": "3"},  # the next `submit` is typed once there is room
    "not-finite": {"retry": "0"},
    "data": {"retry": "3"},  # the same: once the file is mended
    "code": {"retry": "1"},
    "parent-missing": {"retry": "10"},
    "unknown": {"retry": "2"},
}


class Rule(Section):
    """What is done about one cause."""

    retry: Annotated[int, Whole(0, 10_000)] = 0  # times that a stage is sent again for it
    mem: Annotated[float, Number(1, 16)] = 1.0  # each time: memory times this, within the partition's limit
    time: Annotated[float, Number(1, 16)] = 1.0  # each time: the time limit times this, within the partition's
    token_budget: Annotated[float, Number(0.01, 1)] = Field(1.0, alias="token-budget")  # each time: tokens per pass
    exclude: Annotated[bool, YesNo()] = False  # the node it happened on


class Failures(Section):
    """The `failures:` section: a rule per cause, and when equal failures stop the rest."""

    host_oom: Rule = Field(Rule(), alias="host-oom")
    cuda_oom: Rule = Field(Rule(), alias="cuda-oom")
    time: Rule = Rule()
    preempted: Rule = Rule()
    node: Rule = Rule()
    nccl: Rule = Rule()
    disk: Rule = Rule()
    not_finite: Rule = Field(Rule(), alias="not-finite")
    data: Rule = Rule()
    code: Rule = Rule()
    parent_missing: Rule = Field(Rule(), alias="parent-missing")
    unknown: Rule = Rule()
    equal: Annotated[int, Whole(1, 10_000)] = 3  # stages that fail alike by their code: the rest is held

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        rules = {cause: default | _mapping(content.get(cause)) for cause, default in _DEFAULTS.items()
                 if isinstance(content.get(cause, {}), dict)}  # fmt: skip
        return content | rules

    def of(self, cause: Cause) -> Rule:
        """The rule for a cause that has one."""
        rule: Rule = getattr(self, cause.replace("-", "_"))
        return rule

    def record(self) -> dict[str, Any]:
        """For the manifest: as the file would say it."""
        dumped = self.model_dump(by_alias=True)
        return {name: _texts(value) if isinstance(value, dict) else str(value) for name, value in dumped.items()}


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _texts(rule: dict[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() for name, value in rule.items()}


def from_record(record: dict[str, Any]) -> Failures:
    """What `Failures.record` gave."""
    return Failures.model_validate(record)
