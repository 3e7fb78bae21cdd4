"""The `collect:` section: what makes the table while an experiment runs, and when it is over. No part of any key."""

from typing import Annotated, Any

from pydantic import model_validator

from launch.experiment.cluster import MEMORY, TIME
from launch.experiment.fields import Matching, Section, Whole, YesNo
from training.spec import Says


class Collect(Section):
    """How results are collected without anybody typing `collect`."""

    @model_validator(mode="before")
    @classmethod
    def _is_a_mapping(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError("expected keys; without any of it: collect: {job: false, every: 0}")
        return value

    job: Annotated[
        Annotated[bool, YesNo()],
        Says("collect once all that was sent has ended: slurm by a last job, local workers themselves", "false"),
    ] = True
    every: Annotated[
        Annotated[int, Whole(0, 10_000)],
        Says("`submit --wait` and `watch` collect too, at most every so many minutes; 0: not at all", "30"),
    ] = 10
    report: Annotated[
        Annotated[bool, YesNo()], Says("with the table, whoever collects so, the report is rewritten too", "false")
    ] = True
    partition: Annotated[
        Annotated[str, Matching(r"[A-Za-z0-9_.,-]+", "the name of a partition")] | None,
        Says("where the last job runs, if not in that of `cluster:`", "cpu"),
    ] = None
    time: Annotated[
        TIME | None, Says("the last job's time limit; not given: 30 minutes, or that of `cluster:` if less", "1:00:00")
    ] = None
    mem: Annotated[MEMORY | None, Says("the last job's memory; not given: 2G where `cluster:` asks for some", "8G")] = (
        None
    )
