"""The model card: what it is, scores, data and licences, limits, how to make it again; its header in the Hub's schema.

The header is made and checked by `huggingface_hub`'s own classes, so what they refuse is never written.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from launch.publish.facts import NOT_STATED, DataUse, Facts, Step, TargetScores, kind_of_task
from launch.publish.heads import CLASSES

NO_LICENCE = "unknown"  # the Hub's identifier
_NOT_KNOWN = (NOT_STATED, "unclear", "unknown")


def is_unstated(use: DataUse) -> bool:
    """Whether nobody has said under which licence the data is."""
    return use.licence == NOT_STATED


@dataclass(frozen=True)
class Wishes:
    """What only a person can say. `licence`: of the weights, as the Hub calls it. `as_published`: that the local files
    are those of the data sets that tasks are named after, which nobody has compared. `head`: the task whose head is put
    on the encoder; None: none is."""

    licence: str = NO_LICENCE
    as_published: bool = False
    head: str | None = None


def text(facts: Facts, experiment_text: str, wishes: Wishes, model_name: str, head_format: str | None = None) -> str:
    """The whole README.md. `head_format`: of the head that was put on the encoder."""
    from huggingface_hub import ModelCard

    sections = [
        _title(facts),
        _use(facts, wishes, head_format),
        _scores(facts),
        _training(facts),
        _data(facts, wishes),
        _limits(wishes),
        _reproduce(facts, experiment_text),
        _environment(facts),
    ]
    body = "\n\n".join(section.strip() for section in sections)
    header = _header(facts, wishes, model_name, head_format).to_yaml(line_break="\n")
    return str(ModelCard(f"---\n{header.strip()}\n---\n\n{body}\n"))


# --- the header


def _header(facts: Facts, wishes: Wishes, model_name: str, head_format: str | None) -> Any:
    from huggingface_hub import ModelCardData

    results = _eval_results(facts, wishes)
    repos = dict.fromkeys(_repo(use, wishes) for step in facts.steps for use in step.data)
    return ModelCardData(
        license=wishes.licence,
        language=_languages(facts),
        base_model=facts.start.partition("@")[0] if facts.start else None,
        datasets=[repo for repo in repos if repo] or None,
        library_name="transformers",
        pipeline_tag=kind_of_task(head_format) if head_format else "feature-extraction",
        tags=["xlm-roberta", "safetensors", "intermediate-training", "cross-lingual-transfer", "stepstone"],
        metrics=sorted({target.metric for target in facts.targets}) or None,
        model_name=model_name if results else None,
        eval_results=results or None,
    )


def _repo(use: DataUse, wishes: Wishes) -> str | None:
    """The data set on the Hub that the data is."""
    return use.hub or (use.published if wishes.as_published else None)


def _languages(facts: Facts) -> list[str]:
    """English, which it was trained in, and all that it was evaluated in; of a pair such as zh-en both."""
    codes = [code for target in facts.targets for score in target.languages for code in score.language.split("-")]
    return ["multilingual", *dict.fromkeys(["en", *sorted(codes)])]


def _eval_results(facts: Facts, wishes: Wishes) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=kind_of_task(target.format),
            dataset_type=_repo(target.data, wishes) or target.target,
            dataset_name=f"{target.target} ({score.language})",
            dataset_config=score.language,
            dataset_split=score.split,
            dataset_revision=score.revision,
            metric_type=metric,
            metric_name=f"{metric}, in percent",
            metric_value=round(value, 4),
            verified=False,
        )
        for target in facts.targets
        for score in target.languages
        for metric, value in _primary_first(target, score.scores.items())
    ]


def _primary_first(target: TargetScores, scores: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(scores, key=lambda item: (item[0] != target.metric, item[0]))


# --- the text


def _title(facts: Facts) -> str:
    start = facts.start or f"a local model folder (its content's hash: `{facts.start_identity.rpartition(':')[2]}`)"
    steps = " > ".join([start, *(step.task for step in facts.steps)])
    lines = [
        f"# {facts.name}",
        "An XLM-R encoder, fine-tuned on English data with Stepstone for a study of which intermediate training helps"
        " which task in which languages. What it has been through, in this order:",
        f"    {steps}",
    ]
    if facts.steps[-1].diverged:
        lines.append(
            "**This training diverged: on English dev it does no better than a constant answer. Do not use it.**"
        )
    return "\n\n".join(lines)


_CODE = """\
```python
from transformers import {auto_class}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH OR HUB ID")
model = {auto_class}.from_pretrained("PATH OR HUB ID"{more})
```"""


def _use(facts: Facts, wishes: Wishes, head_format: str | None) -> str:
    if head_format:
        code = _CODE.format(auto_class=CLASSES[head_format].auto_class, more="")
        lines = [
            "## How to use it",
            code,
            f"The head of `{wishes.head}` is on the encoder; `AutoModel` loads it without.",
        ]
    else:
        lines = ["## How to use it", _CODE.format(auto_class="AutoModel", more=", add_pooling_layer=False")]
        lines.append("It is an encoder: it has no pooler and no head on it.")
    if facts.heads:
        names = ", ".join(f"`heads/{name}.safetensors`" for name in facts.heads)
        lines.append(
            f"The heads of its last step lie beside it as plain tensors: {names}; the `.json` of each has its kind and"
            " its labels. `AutoModel` does not load them: they are Stepstone's (`training/model/heads.py`)."
        )
    return "\n\n".join(lines)


def _scores(facts: Facts) -> str:
    lines = ["## Scores", "In percent, of this very model: one training with one seed. English is what it was trained"]
    lines[-1] += " in; in every other language it is zero-shot. No error bar goes with a single model."
    if not facts.targets:
        lines.append("Nothing was evaluated from this encoder itself.")
    for target in facts.targets:
        lines.append(_target(target))
    return "\n\n".join(lines)


def _target(target: TargetScores) -> str:
    metrics = [name for name, _ in _primary_first(target, {m: 0.0 for s in target.languages for m in s.scores}.items())]
    rows = [
        [score.language, *(_number(score.scores.get(metric)) for metric in metrics), f"{score.examples:,}"]
        for score in target.languages
    ]
    head = f", by the head of {target.head}" if target.head else ", by the encoder alone"
    lines = [f"### {target.target}{head}"]
    if rows:
        lines.append(_table(["language", *metrics, "examples"], rows))
    if target.missing:
        lines.append(f"Not evaluated: {', '.join(target.missing)}.")
    return "\n\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _training(facts: Facts) -> str:
    rows = [
        [
            str(number),
            step.task,
            _number(step.dev_score),
            "" if step.optimizer_steps is None else f"{step.optimizer_steps:,}",
            str(step.seed),
            f"`{step.key}`",
        ]
        for number, step in enumerate(facts.steps, start=1)
    ]
    recipes = ", ".join(f"`{recipe}`" for recipe in facts.recipes)
    return "\n\n".join(
        [
            "## Training",
            f"Recipe{'s' if len(facts.recipes) > 1 else ''} of the experiment that it belongs to: {recipes}. Each step"
            " starts from the encoder of the one before, with a new head; the best epoch on English dev is kept.",
            _table(["step", "task", "English dev", "optimizer steps", "seed", "stage key"], rows),
            "Hyper-parameters, as they are part of the stage keys:",
            _settings(facts.steps),
        ]
    )


def _settings(steps: Sequence[Step]) -> str:
    names = list(dict.fromkeys(name for step in steps for name in step.settings))
    rows = [[name, *(_setting(step.settings.get(name, "")) for step in steps)] for name in names]
    return _table(["setting", *(f"{number}. {step.task}" for number, step in enumerate(steps, start=1))], rows)


def _setting(value: Any) -> str:
    return "the model's own" if value is None else str(value)


def _data(facts: Facts, wishes: Wishes) -> str:
    rows = [[use.task, use.use, _source(use, wishes), use.revision, _licence(use)] for use in facts.data]
    lines = ["## Data", _table(["task", "use", "source", "revision", "licence of the data"], rows)]
    lines.append("None of the data is in this folder; `stepstone.json` names every part of it by commit or SHA-256.")
    if any(use.published for use in facts.data) and not wishes.as_published:
        lines.append(
            "Of local files under the name of a published task, the licence is that of the published data; that they"
            " hold the same was not checked."
        )
    if any(use.is_of_the_user for use in facts.data):
        lines.append("Data of the author's own: its source and its licence are the author's to state.")
    return "\n\n".join(lines)


def _source(use: DataUse, wishes: Wishes) -> str:
    if not use.published:
        return use.source
    return f"{use.source}, {'as published in' if wishes.as_published else 'in the place of'} {use.published}"


def _licence(use: DataUse) -> str:
    if is_unstated(use):
        return "unknown: its owner's to state"
    return f"unknown ({use.licence})" if any(word in use.licence for word in _NOT_KNOWN) else use.licence


def _limits(wishes: Wishes) -> str:
    lines = [
        "## Intended use and limits",
        "- For research on cross-lingual transfer, and as an encoder to fine-tune further.",
        "- It was fine-tuned on English alone; what it does in other languages is transfer, and differs from language"
        " to language and from seed to seed. Judge a recipe by several seeds, not by this model.",
        "- It carries the biases of the start model's text and of the data above, which nobody has measured here.",
        "- Nothing was done to make it fit for decisions about people, and nobody has tested it for that.",
    ]
    if wishes.licence == NO_LICENCE:
        lines.append("- The licence of these weights is not stated yet. The licences of the data above may bind it.")
    else:
        lines.append(
            f"- Its author gives these weights under `{wishes.licence}`; the licences of the data above may bind more."
        )
    return "\n".join([lines[0], "", *lines[1:]])


def _reproduce(facts: Facts, experiment_text: str) -> str:
    beside = [] if facts.start else ["the start model as `./model`"]
    if any("SHA-256" in use.revision for use in facts.data):
        beside.append("the data as `./data`")
    requirements = f", with {' and '.join(beside)} beside it" if beside else ""
    return "\n\n".join(
        [
            "## Make it again",
            f"`experiment.yaml`{requirements}:",
            f"```yaml\n{experiment_text.strip()}\n```",
            "    stepstone submit experiment.yaml --wait",
            f"On equal data its stage has the key `{facts.key}`. On a CPU, with as many ranks and cores, the weights"
            " have the same bits; else they are near.",
        ]
    )


def _environment(facts: Facts) -> str:
    making = facts.making
    lines = [
        ("Stepstone", f"{facts.stepstone} code `{making.code}`".strip()),
        ("encoder", f"hash of its tensors `{facts.encoder_hash}`"),
        ("packages", ", ".join(f"{name} {version}" for name, version in making.versions.items())),
        ("device", f"{making.device_name or 'not known'}, {making.world_size} rank{'s' * (making.world_size > 1)}"),
        ("precision", making.precision),
        ("attention", making.attention),
        ("matrix products", making.matmul or ""),
        ("time of the last step", f"{making.seconds:,.0f} s of training, {making.tokens:,} tokens"),
    ]
    return "## Code and environment\n\n" + "\n".join(f"- {label}: {value}" for label, value in lines if value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
