"""The `failures:` section: what is done about a stage that failed, by cause."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from launch.experiment.fields import Number, Section, Whole, YesNo
from slurm.causes import Cause
from training.spec import Says

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
    "not-started": {"retry": "0"},
    "ulimit": {"retry": "3"},  # the same: once it is lifted
    "unknown": {"retry": "2"},
}


class Rule(Section):
    """What is done about one cause."""

    retry: Annotated[Annotated[int, Whole(0, 10_000)], Says("times that a stage is sent again for it", "3")] = 0
    mem: Annotated[
        Annotated[float, Number(1, 16)], Says("each time: memory times this, within the partition's limit", "1.5")
    ] = 1.0
    time: Annotated[
        Annotated[float, Number(1, 16)], Says("each time: the time limit times this, within the partition's", "2")
    ] = 1.0
    token_budget: Annotated[Annotated[float, Number(0.01, 1)], Says("each time: tokens per pass times this", "0.5")] = (
        Field(1.0, alias="token-budget")
    )
    exclude: Annotated[Annotated[bool, YesNo()], Says("each time: not on the node it happened on", "true")] = False


class Failures(Section):
    """The `failures:` section: a rule per cause, and when equal failures stop the rest."""

    host_oom: Annotated[Rule, Says("a process took more memory than the job has")] = Field(Rule(), alias="host-oom")
    cuda_oom: Annotated[Rule, Says("a GPU's memory was full")] = Field(Rule(), alias="cuda-oom")
    time: Annotated[Rule, Says("the time limit came")] = Rule()
    preempted: Annotated[Rule, Says("another job took its place")] = Rule()
    node: Annotated[Rule, Says("the node failed")] = Rule()
    nccl: Annotated[Rule, Says("processes lost each other")] = Rule()
    disk: Annotated[Rule, Says("no room, or a quota")] = Rule()
    not_finite: Annotated[Rule, Says("a loss that is no number")] = Field(Rule(), alias="not-finite")
    data: Annotated[Rule, Says("a file is malformed or missing")] = Rule()
    code: Annotated[Rule, Says("any other error of the program")] = Rule()
    parent_missing: Annotated[Rule, Says("the encoder of the stage before is gone")] = Field(
        Rule(), alias="parent-missing"
    )
    not_started: Annotated[Rule, Says("no log could be made where it ran, or the Python in use is not there")] = Field(
        Rule(), alias="not-started"
    )
    ulimit: Annotated[Rule, Says("a limit of its process (`ulimit`)")] = Rule()
    unknown: Annotated[Rule, Says("nobody can say")] = Rule()
    equal: Annotated[
        Annotated[int, Whole(1, 10_000)], Says("so many stages that fail alike by their code hold the rest", "5")
    ] = 3

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
        content = self.model_dump(by_alias=True)
        return {name: _texts(value) if isinstance(value, dict) else str(value) for name, value in content.items()}


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _texts(rule: dict[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() for name, value in rule.items()}


def from_record(record: dict[str, Any]) -> Failures:
    """What `Failures.record` gave."""
    return Failures.model_validate(record)
