"""What one process of a stage needs of memory, by arithmetic: for elements that share a node or a GPU (`pack`)."""

from dataclasses import dataclass, replace

from launch.estimate import shapes
from launch.plan import Plan, Stage
from training import flops, shape

_LIBRARIES, _WITH_CUDA = 1_000_000_000, 3_000_000_000  # bytes of the host: Python, torch and what goes with it
_CONTEXT = 600_000_000  # bytes of a GPU beside what torch allocates
_USED = 0.9  # of a GPU's memory: the rest is for the allocator's gaps
_WEIGHT = 4  # bytes: fp32
_COMPACT_ROWS = 80_000  # of XLM-R's 250,002


@dataclass(frozen=True)
class Need:
    """Bytes of one process."""

    host: int
    gpu: int = 0  # 0: it uses none


class Needs:
    """Those of a plan's stages; make one per command."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sizes = {model: shapes.model_sizes(start) for model, start in plan.starts.items()}
        self._shapes: dict[tuple[str, str], shapes.StepShape] = {}

    def of_stage(self, stage: Stage) -> Need | None:
        """None where nothing is known of the model yet."""
        sizes = self._sizes[stage.model]
        if sizes is None:
            return None
        return self._of_train(stage, sizes) if stage.kind == "train" else self._of_evaluate(stage, sizes)

    def _of_train(self, stage: Stage, sizes: flops.Sizes) -> Need:
        step, runtime = self._shape(stage, sizes), self._plan.steps[stage.definition].runtime
        if not step.gpu:
            return Need(_LIBRARIES + step.bytes)
        # Where the file leaves the passes to the engine, it makes them as small as there is memory for.
        tokens = step.tokens if runtime.token_budget else self._plan.steps[stage.definition].settings.max_length
        on_gpu = step.shape.states_bytes + tokens * step.shape.token_bytes
        offload_bytes = 3 * _WEIGHT * sizes.parameters if step.shape.offload else 0
        return Need(_WITH_CUDA + 2 * _WEIGHT * sizes.parameters + offload_bytes, int(on_gpu / _USED) + _CONTEXT)

    def _shape(self, stage: Stage, sizes: flops.Sizes) -> shapes.StepShape:
        """With a compact vocabulary, which rows it keeps only the data say: not more than this, in English."""
        if stage.work not in self._shapes:
            definition, cluster = self._plan.steps[stage.definition], self._plan.experiment.cluster
            step = shapes.of_step("", definition, sizes, cluster)
            if step.vocabulary == "compact":
                fewer = replace(sizes, vocabulary=min(sizes.vocabulary, _COMPACT_ROWS))
                step = shapes.of_step("", definition, fewer, cluster)
            self._shapes[stage.work] = step
        return self._shapes[stage.work]

    def _of_evaluate(self, stage: Stage, sizes: flops.Sizes) -> Need:
        spec, runtime = self._plan.evaluate_spec(stage), self._plan.runtime(stage)
        cluster = self._plan.experiment.cluster
        weights = _WEIGHT * sizes.parameters
        if not (runtime.device == "cuda" or (runtime.device == "auto" and cluster.gpus_asked_for)):
            return Need(_LIBRARIES + weights)
        least = spec.settings.max_length * shape.training_token_bytes(
            sizes, spec.settings.max_length, bf16=True, gpu=True
        )
        return Need(_WITH_CUDA + 2 * weights, int((weights + least) / _USED) + _CONTEXT)
