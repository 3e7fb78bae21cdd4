"""The math library of the CPU: exact against float64 here, forced by name, and the process left as it was."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slurm.base.files import seal
from training.engine import layer_speed, matmul
from training.engine.layer_speed import Use
from training.engine.matmul import MatmulChoice, choose_matmul
from training.flops import Sizes
from training.model import attention, products
from training.model.packing import Layout

SIZES = Sizes(layers=2, width=32, inner=64, heads=2, vocabulary=100, positions=100, segments=1)


def precision() -> str:
    return str(torch.backends.mkldnn.matmul.fp32_precision)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = precision()
    yield
    assert precision() == before


@pytest.fixture(scope="module", params=["training", "evaluation"])
def choice(request: pytest.FixtureRequest) -> MatmulChoice:
    return choose_matmul("auto", request.param, SIZES)


def test_what_auto_chooses_is_exact(choice: MatmulChoice) -> None:
    assert choice.exact_error <= 1e-5 and choice.gflops > 0
    assert choice.name in ("mkl", "onednn") and choice.why


def test_the_probe_draws_nothing_from_the_global_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_speed, "_MOST", 2)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert layer_speed.seconds(SIZES, "training").keys() == {"mkl", "onednn"}
    assert choose_matmul("mkl", "training", SIZES).why == "as set"
    assert torch.equal(torch.get_rng_state(), before)


def test_a_layer_is_timed_as_the_stage_computes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training by buckets with dropout, evaluation by the fused kernel without gradients; each library as often."""
    monkeypatch.setattr(layer_speed, "_MOST", 2)
    ways: list[tuple[str, str]] = []
    for way in ("_by_runs", "_by_buckets"):
        real = getattr(attention, way)
        monkeypatch.setattr(
            attention, way, lambda *given, real=real, way=way: (ways.append((way, precision())), real(*given))[1]
        )
    layer_speed.seconds(SIZES, "evaluation")
    assert set(ways) == {("_by_runs", "ieee"), ("_by_runs", "bf16")}
    assert ways.count(("_by_runs", "ieee")) == ways.count(("_by_runs", "bf16")) > 0
    ways.clear()
    layer_speed.seconds(SIZES, "training")
    assert set(ways) == {("_by_buckets", "ieee"), ("_by_buckets", "bf16")}


def test_a_name_forces_and_restore_restores() -> None:
    outer = products.apply("onednn")
    try:
        assert precision() == "bf16"
        inner = products.apply("mkl")
        assert precision() == "ieee"
        products.restore(inner)
        assert precision() == "bf16"
    finally:
        products.restore(outer)


def test_fused_attention_is_made_by_mkl_whatever_makes_the_rest() -> None:
    q, k, v = torch.randn(3, 1, 2, 40, 16, generator=torch.Generator().manual_seed(1))
    layout = Layout((30, 10), torch.device("cpu"))
    outputs = []
    for name in products.LIBRARIES:
        with products.by(name), torch.inference_mode():
            outputs.append(attention.packed_attention(q, k, v, layout, 0.0, 0.25))
            assert precision() == ("ieee" if name == "mkl" else "bf16")
    assert torch.equal(*outputs)


Errors = dict[products.Library, float]
ERRORS: Errors = {"mkl": 4e-7, "onednn": 5e-7}
ROUNDS: Errors = {"mkl": 4e-7, "onednn": 3e-3}
FASTER: Errors = {"mkl": 0.250, "onednn": 0.120}
BUSY: Errors = {"mkl": 0.7, "onednn": 0.65}


@pytest.mark.parametrize(
    ("errors", "seconds", "name", "why"),
    [
        (ERRORS, FASTER, "onednn", "faster and as exact: a layer's training takes 120 ms by oneDNN, 250 ms by MKL"),
        (ERRORS, BUSY, "mkl", "oneDNN is not 1.1 times as fast: a layer's training takes 650 ms by oneDNN, 700"),
        (ROUNDS, {}, "mkl", "relative error 3.0e-03"),
        ({"mkl": 4e-7, "onednn": 9e-7}, {}, "mkl", "not exact here"),
    ],
)  # fmt: skip
def test_auto_takes_onednn_only_where_it_is_exact_and_clearly_faster(
    errors: Errors, seconds: Errors, name: str, why: str
) -> None:
    """The rule on other chips' numbers, which no test can measure here."""
    decision = matmul.decide("training", errors, seconds)
    assert decision.matmul == name and why in decision.why


def test_a_forced_library_that_rounds_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_product", lambda name, width, inner: (3e-3, 700.0))
    choice = choose_matmul("onednn", "evaluation", SIZES)
    assert (choice.name, choice.exact_error) == ("onednn", 3e-3)
    assert choice.why == "as set; it rounds: relative error 3.0e-03"


class Machine:
    """What is measured here, as a test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.errors, self.seconds = ERRORS, FASTER
        monkeypatch.setattr(matmul, "_product", lambda name, width, inner: (self.errors.get(name, 5e-7), 100.0))
        monkeypatch.setattr(matmul, "_measured", lambda use, sizes: matmul.decide(use, self.errors, self.seconds))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_a_store_decides_once_for_a_processor_a_use_and_the_sizes_of_a_layer(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later stages follow whatever they measure; a name and exactness come first."""

    def chosen(library: matmul.Matmul = "auto", use: Use = "training", sizes: Sizes = SIZES) -> MatmulChoice:
        with matmul.deciding_in(tmp_path / "processors"):
            return choose_matmul(library, use, sizes)

    assert chosen().name == "onednn"
    machine.seconds = BUSY
    followed = chosen(sizes=replace(SIZES, layers=12))
    assert followed.name == "onednn"
    why = "faster and as exact: a layer's training takes 120 ms by oneDNN, 250 ms by MKL"
    assert followed.why == f"decided for {matmul.processor()}: {why}"
    assert chosen("mkl").name == "mkl"
    assert chosen(use="evaluation").name == "mkl"
    assert chosen(sizes=replace(SIZES, width=64)).name == "mkl"
    machine.errors = ROUNDS
    refused = chosen()
    assert (refused.name, refused.why) == ("mkl", "onednn is not exact here: relative error 3.0e-03")
    machine.errors = ERRORS
    monkeypatch.setattr(matmul, "_processor_model", lambda: "AMD EPYC 9554")
    assert chosen().name == "mkl"
    machine.seconds = FASTER
    assert chosen().name == "mkl"
    assert chosen(use="evaluation").name == "onednn"
    assert len(list((tmp_path / "processors").iterdir())) == 5


@pytest.mark.parametrize("use", ["training", "evaluation"])
def test_a_store_that_decided_for_both_uses_keeps_to_it(tmp_path: Path, machine: Machine, use: Use) -> None:
    with matmul.deciding_in(tmp_path):
        choose_matmul("auto", "training", SIZES)
        (path,) = tmp_path.iterdir()
        path.rename(tmp_path / f"{path.name.partition('.')[0]}.json")
        (tmp_path / f"{path.name.partition('.')[0]}.json").write_bytes(seal({"matmul": "onednn", "why": "faster"}))
        choice = choose_matmul("auto", use, SIZES)
    assert (choice.name, choice.why) == ("onednn", f"decided for {matmul.processor()}: faster")
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_decision_that_can_be_kept_a_process_decides_for_itself(tmp_path: Path, machine: Machine) -> None:
    folder = tmp_path / "processors"
    with matmul.deciding_in(folder):
        choose_matmul("auto", "training", SIZES)
        path = next(folder.iterdir())
        path.write_text("{}")  # torn
        assert choose_matmul("auto", "training", SIZES).name == "onednn"
    (tmp_path / "file").write_text("")
    with matmul.deciding_in(tmp_path / "file"):
        assert choose_matmul("auto", "training", SIZES).name == "onednn"


def test_a_choice_is_measured_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Use] = []
    monkeypatch.setattr(
        layer_speed, "seconds", lambda sizes, use: (calls.append(use), dict.fromkeys(products.LIBRARIES, 1.0))[1]
    )
    wider = replace(SIZES, width=48)
    for _ in range(2):
        assert choose_matmul("auto", "evaluation", wider).name == "mkl"
    assert calls in ([], ["evaluation"])  # none where oneDNN rounds
