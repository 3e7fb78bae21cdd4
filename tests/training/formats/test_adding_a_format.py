"""docs/adding-a-format.md: its code, as it stands there, is a format that trains, predicts and is scored."""

import re
from typing import Any

import pytest
import torch

from eval import metrics
from tests.paths import ROOT
from training import formats
from training.formats.base import Format
from training.model import heads
from training.model.packing import pack
from training.spec import Settings
from training.tasks import catalogue, presets
from training.tasks.task import Columns, Files, Hub, Task

PAGE = (ROOT / "docs" / "adding-a-format.md").read_text()
FORMAT, HEAD, METRIC, FAMILY = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
GRADES = Task(
    name="grades",
    format="ordinal",
    metric_family="closeness",
    metric="closeness",
    licence="ours",
    files=Files(),
    hub=Hub("", None),
    labels=("1", "2", "3", "4", "5"),
    label_map=presets.same(("1", "2", "3", "4", "5")),
    columns=Columns(first=("{question}",), second=("{answer}",)),
)


def names_of(code: str, **given: Any) -> dict[str, Any]:
    """What a piece of the page defines."""
    names = {"__name__": "page", **given}
    exec(code, names)
    return names


@pytest.fixture
def ordinal(monkeypatch: pytest.MonkeyPatch) -> Format[Any]:
    """The page's format, with its head and its metric in the tables that the page names."""
    form: Format[Any] = names_of(FORMAT)["Ordinal"]()
    head = names_of(HEAD, **vars(heads))["OrdinalHead"]()
    closeness = type("closeness", (), {"score": staticmethod(names_of(METRIC)["score"])})
    family = names_of(f"_FAMILIES = {{{FAMILY}}}", Family=metrics.Family, closeness=closeness)["_FAMILIES"]
    monkeypatch.setitem(formats._FORMATS, form.name, form)
    monkeypatch.setitem(heads._HEADS, form.name, head)
    monkeypatch.setitem(metrics._FAMILIES, "closeness", family["closeness"])
    monkeypatch.setattr(metrics, "FAMILIES", (*metrics.FAMILIES, "closeness"))
    return form


def test_the_pages_format_trains_and_predicts(ordinal: Format[Any], xlmr_tokenizer: Any) -> None:
    rows = [{"question": "How was it?", "answer": f"It was {'very ' * n}good", "label": str(n + 1)} for n in range(5)]
    examples = [ordinal.from_row(row, GRADES, "en", place) for place, row in enumerate(rows)]
    pieces = ordinal.encode(examples, xlmr_tokenizer, GRADES, Settings())
    packed = pack(pieces, heads.reads("ordinal", pieces))
    hidden = torch.nn.functional.one_hot(torch.arange(5), 8).float()  # of each row's first token, all different
    assert packed.reads is not None and len(packed.reads) == len(hidden)
    head = heads.fresh("ordinal", len(GRADES.labels), 8, 0.0, 1, "grades")
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss = heads.loss("ordinal", head(hidden), pieces)
        loss.backward()
        optimizer.step()
    outputs = heads.unbatch("ordinal", head(hidden).detach(), pieces)
    predictions = ordinal.decode(examples, pieces, outputs, GRADES, Settings())
    assert predictions == ["1", "2", "3", "4", "5"] == ordinal.golds(examples, pieces, GRADES)
    alone = sum(heads.loss("ordinal", head(hidden[n : n + 1]), pieces[n : n + 1]).item() for n in range(5))
    assert alone == pytest.approx(heads.loss("ordinal", head(hidden), pieces).item(), rel=1e-5)


def test_the_pages_metric_scores(ordinal: Format[Any]) -> None:
    assert metrics.score(ordinal.metrics[0], ["1", "5"], ["1", "3"], "en") == {"closeness": 75.0}
    assert (metrics.primary("closeness"), metrics.layout("closeness")) == ("closeness", "labels")


def test_what_the_page_names_is_there() -> None:
    for path in re.findall(r"`((?:training|eval|tests)/[\w/]+\.py)`", PAGE):
        assert (ROOT / path).is_file(), path
    for name in ("key_settings", "encode_settings", "kind_of_data", "metrics", "by_accident", "count", "decode"):
        assert hasattr(Format, name) or name in Format.__annotations__, name


def test_every_task_has_a_format_a_head_and_a_metric() -> None:
    for name in catalogue.names():
        task = catalogue.find(name)
        form = formats.get(task.format)
        assert form.kind_of_data and form.usual_tokens > 0
        assert metrics.primary(task.metric_family) and metrics.layout(task.metric_family)
        if form.has_head:
            assert heads.build(task.format, 3, 8, 0.0)
