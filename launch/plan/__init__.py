"""An `Experiment` as stages, equal ones merged, each with its key. Writes nothing, asks nobody but the data folder.

Imports `launch.experiment`, of `training` what needs no torch, and `eval.tables.baseline` for names of recipes. Begin
with `stages`, the nouns of everything that follows; `planner` enumerates them, `keys` says what a stage means: whoever
changes that makes every stored result another one's.
"""

from launch.plan.planner import make
from launch.plan.stages import Plan, Stage, StepDefinition, TargetDefinition

__all__ = ["Plan", "Stage", "StepDefinition", "TargetDefinition", "make"]
