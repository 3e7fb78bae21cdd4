"""Stage keys as they are: whoever changes one of these digests makes every stored result another one's."""

from dataclasses import replace
from typing import Any, get_args

import pytest

from launch.plan.keys import language_identity, stage_key, step_digest, target_digest
from training.spec import SETTINGS, DataFile, HubPart, Setting, Settings, Split, TaskData
from training.tasks import find

TRAIN: Split = (DataFile("a", "11" * 32), DataFile("b", "22" * 32, role="other"))
DEV: Split = (HubPart("google/xtreme", "33" * 20, "XNLI", "validation"),)


def _parts(*tasks: str, **changes: Any) -> tuple[TaskData, ...]:
    return tuple(replace(TaskData(task, TRAIN, DEV), **changes) for task in tasks)


def _step(*tasks: str, **settings: Any) -> str:
    return step_digest(_parts(*tasks), Settings(**settings))[:16]


def _target(task: str, max_eval: int | None = None, **settings: Any) -> str:
    return target_digest(find(task), Settings(**settings), max_eval)[:16]


STEPS: list[tuple[tuple[str, ...], dict[str, Any], str]] = [
    (("mnli",), {}, "8227bb8c74fb2543"),
    (("mnli",), {"warmup_steps": 500}, "bb5930ef79544eef"),
    (("mnli",), {"warmup_steps": 0, "warmup_ratio": 0.3}, "d528175002137932"),
    (("mnli",), {"attention_dropout": 0.1}, "c44e8017814e7cba"),
    (("mnli",), {"decay_unseen": False, "dropout": 0.2}, "1b75a0469e63603c"),
    (("squad",), {}, "6e3a6b637259171d"),
    (("squad_v2",), {"null_threshold": 1.5}, "e6a598e8f57560d1"),
    (("panx",), {"max_length": 128}, "b1a84e8bb3c85ab0"),
    (("hellaswag",), {"precision": "bf16"}, "5b85d12291152a65"),
    (("mlm",), {"mask_probability": 0.3}, "8cc4de21039134c6"),
    (("squad_retrieval",), {"contrast_size": 8}, "f0cf0f2d8520a4b8"),
    (("hellaswag", "squad"), {}, "10c7b623a7accc55"),
    (("hellaswag", "squad"), {"sampling": "uniform"}, "3d98ef37609bdcb5"),
    (("hellaswag", "squad"), {"sampling": "temperature", "temperature": 5.0}, "0599a7d52fd5d0bb"),
    (("hellaswag", "squad"), {"sampling": "capped", "examples_cap": 100}, "7cd7db441487b8e5"),
]
TARGETS: list[tuple[str, int | None, dict[str, Any], str]] = [
    ("xnli", None, {}, "5b396578abc01730"),
    ("xnli", 100, {"precision": "fp32"}, "3e2c6451099c721d"),
    ("xquad", None, {"n_best": 5}, "be5634f445fad1ba"),
    ("panx", None, {"pooling": "cls"}, "fa17864600bc84e0"),
    ("tatoeba", None, {}, "67d7df5a074ac4f7"),
    ("tatoeba", None, {"layer": 7, "pooling": "cls"}, "95c80b5d011322b5"),
    ("bucc", None, {"layer": 7}, "96170ec2c7dbb633"),
    ("lareqa", None, {}, "90865972e5ad4ad5"),
    ("lareqa", None, {"candidate_text": "joined"}, "7c0bf72c4030fd7a"),
    ("mewslix", None, {"contrast_size": 8}, "41e0a86b307e8c5e"),
]


@pytest.mark.parametrize(("tasks", "settings", "digest"), STEPS, ids=str)
def test_the_digest_of_a_step_is_what_it_was(tasks: tuple[str, ...], settings: dict[str, Any], digest: str) -> None:
    assert _step(*tasks, **settings) == digest


@pytest.mark.parametrize(("task", "max_eval", "settings", "digest"), TARGETS, ids=str)
def test_the_digest_of_a_target_is_what_it_was(
    task: str, max_eval: int | None, settings: dict[str, Any], digest: str
) -> None:
    assert _target(task, max_eval, **settings) == digest


def test_the_digest_of_sources_under_one_head_is_what_it_was() -> None:
    parts = _parts("snli", "mnli", head="anli_plus", hold_out=0.1, max_train=5, max_eval=6)
    assert step_digest(parts, Settings())[:16] == "a54f8c2deea6f65e"
    assert step_digest(parts, Settings(sampling="uniform"))[:16] == "a54f8c2deea6f65e"  # one head: nothing is mixed


def test_the_digest_of_a_users_task_is_what_it_was() -> None:
    assert target_digest(replace(find("xnli"), added=True), Settings(), None)[:16] == "aec5cf3eb9c51d3e"


def test_keys_and_the_names_of_data_are_what_they_were() -> None:
    assert stage_key("ab" * 32, 1, "model") == "7f24e7be12ec937f"
    assert stage_key("ab" * 32, None, "model") == "c498eb7f29a7470f"
    assert (language_identity(TRAIN), language_identity(DEV)) == ("d4844603", "e8d36fd5")


IN_NO_KEY: set[str] = set()  # settings that change no numbers: none so far
OF_EVERY_FORMAT = [
    "mnli", "squad_v2", "panx", "hellaswag", "mlm", "squad_retrieval", "xquad", "tatoeba", "alignment_legal", "bucc",
]  # fmt: skip


def _another_value(setting: Setting) -> Any:
    if setting.type is bool:
        return not setting.default
    if setting.limits is None:
        return next(value for value in get_args(setting.type) if value != setting.default)
    least, most = setting.type(setting.limits.least), setting.type(setting.limits.most)
    return least if setting.default != least else most


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_part_of_the_keys_that_it_says(setting: Setting) -> None:
    """With the condition that it names, if any; and of no key where that does not hold."""
    in_key = setting.in_key
    assert (in_key is None) == (setting.name in IN_NO_KEY)
    if in_key is None:
        return
    condition = dict([in_key.where]) if in_key.where else {}
    change = {setting.name: _another_value(setting)}
    mixture = ("hellaswag", "squad")
    kinds = set()
    if any(_step(*step, **condition) != _step(*step, **condition | change) for step in (("mnli",), ("mlm",), mixture)):
        kinds.add("train")
    if any(_step(task) != _step(task, **change) for task in OF_EVERY_FORMAT):
        kinds.add("train")
        assert not in_key.mixture and not in_key.where
    if any(_target(task) != _target(task, **change) for task in OF_EVERY_FORMAT):
        kinds.add("evaluate")
    assert kinds == set(in_key.kinds)
    if in_key.where:
        assert _step(*mixture) == _step(*mixture, **change)


def test_warmup_steps_stand_instead_of_the_ratio() -> None:
    assert _step("mnli", warmup_steps=5, warmup_ratio=0.2) == _step("mnli", warmup_steps=5)
