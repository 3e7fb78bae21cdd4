"""What the job of each element is told, and what a stage's folder says that the stage means."""

from dataclasses import replace
from typing import Any

from launch.draft.elements import Array
from launch.experiment.added_tasks import to_record as to_record_of_task
from launch.plan import Plan, Stage
from launch.status.policy import Changes
from launch.store import Store
from launch.store.manifests import EarlierStep, Manifest, StageEntry
from training.spec import Runtime, to_record

_LEAST_TOKENS = 64  # of a forward pass made smaller: below this nothing is gained
_EVAL_TOKENS = 16_384  # where the file leaves the budget of evaluating to the job: what a smaller one is made from


def identity(plan: Plan, stage: Stage) -> dict[str, Any]:
    """What a stage means, for people and later versions; jobs read the manifest."""
    spec = to_record(plan.train_spec(stage) if stage.kind == "train" else plan.evaluate_spec(stage))
    spec.pop("languages", None)  # no part of what an evaluate stage is
    return {
        "key": stage.key, "name": stage.name, "kind": stage.kind, "task": stage.task, "seed": stage.seed,
        "parent": stage.parent or plan.start_of(stage).identity, "spec": spec,
    }  # fmt: skip


def manifest(plan: Plan, store: Store, array: Array, packages: dict[str, str] | None = None) -> Manifest:
    """What the job of each element of an array is told. `packages`: versions that its job should find."""
    cluster = plan.experiment.cluster
    stages = {index: [plan.stages[key] for key in element.stages] for index, element in array.elements.items()}
    return Manifest(
        store=str(store.root),
        experiment=plan.experiment.name,
        start=next(iter(plan.starts.values())),
        asked=cluster.asked,
        share_group=cluster.share_group,
        packages=packages or {},
        tasks=tuple(to_record_of_task(task) for task in plan.added_tasks()),
        elements={
            index: tuple(_stage_entry(plan, stage, array.elements[index].changes) for stage in stages[index])
            for index in stages
        },
        drop={
            index: tuple(stage.folder for stage in stages[index] if _may_drop_encoder(plan, stage)) for index in stages
        },
        failures=plan.experiment.failures.record(),
        starts={label: start for label, start in plan.starts.items() if label},
        lanes={index: element.lanes for index, element in array.elements.items() if element.lanes},
    )


def _may_drop_encoder(plan: Plan, stage: Stage) -> bool:
    if stage.kind != "train" or plan.experiment.keep == "all":
        return False
    return not any(plan.stages[key].kind == "train" for key in plan.children[stage.key])


def _stage_entry(plan: Plan, stage: Stage, changes: Changes | None) -> StageEntry:
    spec = plan.train_spec(stage) if stage.kind == "train" else plan.evaluate_spec(stage)
    return StageEntry(
        key=stage.key,
        folder=stage.folder,
        kind=stage.kind,
        spec=to_record(spec),
        runtime=to_record(_runtime(plan.runtime(stage), changes)),
        parent=plan.stages[stage.parent].folder if stage.parent else None,
        model=stage.model,
        earlier=tuple(
            EarlierStep(training.folder, heads, to_record(plan.train_spec(training)))
            for training, heads in plan.earlier(stage)
        ),
        measures=plan.measures(stage),
    )


def _runtime(runtime: Runtime, changes: Changes | None) -> Runtime:
    """With the smaller passes that earlier failures ask for; the global batch, and so the result, stays as it is.

    Where the file gives no token_budget for training, the engine itself remembers which ones ran out of memory.
    """
    factor = changes.token_budget_factor if changes else 1.0
    if factor == 1.0:
        return runtime
    train = runtime.token_budget and max(_LEAST_TOKENS, int(runtime.token_budget * factor))
    evaluate = max(_LEAST_TOKENS, int((runtime.eval_token_budget or _EVAL_TOKENS) * factor))
    return replace(runtime, token_budget=train, eval_token_budget=evaluate)
