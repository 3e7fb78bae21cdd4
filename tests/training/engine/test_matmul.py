"""The math library of the CPU: exact against float64 here, forced by name, and the process left as it was."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training.engine import matmul
from training.engine.matmul import MatmulChoice, choose_matmul


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    yield
    assert torch.backends.mkldnn.matmul.fp32_precision == before  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def chosen() -> MatmulChoice:
    return choose_matmul("auto")


def test_what_auto_chooses_is_exact(chosen: MatmulChoice) -> None:
    assert chosen.exact_error <= 1e-5 and chosen.gflops > 0
    assert chosen.name in ("mkl", "onednn") and chosen.why


def test_the_probe_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = choose_matmul("mkl")
    assert found.name == "mkl" and found.why.startswith("as set; ")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_name_forces_and_restore_restores() -> None:
    outer = matmul.apply("onednn")
    try:
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"  # type: ignore[attr-defined]
        inner = matmul.apply("mkl")
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]
        matmul.restore(inner)
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"  # type: ignore[attr-defined]
    finally:
        matmul.restore(outer)


ERRORS = {"mkl": 4e-7, "onednn": 5e-7}


@pytest.mark.parametrize(
    ("errors", "speeds", "name", "why"),
    [
        (ERRORS, {"mkl": 217.0, "onednn": 430.0}, "onednn", "faster and as exact: oneDNN 430, MKL 217 GFLOP/s"),
        (ERRORS, {"mkl": 70.0, "onednn": 80.0}, "mkl", "oneDNN is not 1.25 times as fast: oneDNN 80, MKL 70 GFLOP/s"),
        ({"mkl": 4e-7, "onednn": 3e-3}, {"mkl": 70.0, "onednn": 700.0}, "mkl", "relative error 3.0e-03"),
        ({"mkl": 4e-7, "onednn": 9e-7}, {"mkl": 70.0, "onednn": 700.0}, "mkl", "not exact here"),
    ],
)  # fmt: skip
def test_auto_takes_onednn_only_where_it_is_exact_and_clearly_faster(
    errors: dict[matmul.Library, float], speeds: dict[matmul.Library, float], name: str, why: str
) -> None:
    """The rule on other chips' numbers, which no test can measure here."""
    found = matmul.decide("auto", errors, speeds)
    assert found.name == name and why in found.why


def test_a_forced_library_that_rounds_says_so() -> None:
    found = matmul.decide("onednn", {"mkl": 4e-7, "onednn": 3e-3}, {"mkl": 70.0, "onednn": 700.0})
    assert (found.name, found.exact_error) == ("onednn", 3e-3) and "it rounds: relative error 3.0e-03" in found.why


FASTER: tuple[dict[matmul.Library, float], ...] = (ERRORS, {"mkl": 217.0, "onednn": 430.0})  # type: ignore[assignment]
BUSY: tuple[dict[matmul.Library, float], ...] = (ERRORS, {"mkl": 70.0, "onednn": 80.0})  # type: ignore[assignment]
ROUNDS: tuple[dict[matmul.Library, float], ...] = (
    {"mkl": 4e-7, "onednn": 3e-3},
    {"mkl": 70.0, "onednn": 700.0},
)


def test_a_store_decides_once_for_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later stages follow whatever they measure; another processor has its own; a name and exactness come first."""

    def choice_by(measured: tuple[dict[matmul.Library, float], ...], library: matmul.Matmul = "auto") -> MatmulChoice:
        monkeypatch.setattr(matmul, "_measured", lambda: measured)
        with matmul.deciding_in(tmp_path / "processors"):
            return choose_matmul(library)

    assert choice_by(FASTER).name == "onednn"
    followed = choice_by(BUSY)
    assert (followed.name, followed.gflops) == ("onednn", 80.0)
    assert followed.why == f"decided for {matmul.processor()}: faster and as exact: oneDNN 430, MKL 217 GFLOP/s"
    assert choice_by(BUSY, "mkl").name == "mkl"
    assert choice_by(ROUNDS).name == "mkl"
    monkeypatch.setattr(matmul, "_processor_model", lambda: "AMD EPYC 9554")
    assert choice_by(BUSY).name == "mkl"
    assert choice_by(FASTER).name == "mkl"
    assert len(list((tmp_path / "processors").iterdir())) == 2


def test_without_a_decision_that_can_be_kept_a_process_decides_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul, "_measured", lambda: FASTER)
    folder = tmp_path / "processors"
    with matmul.deciding_in(folder):
        choose_matmul("auto")
        path = next(folder.iterdir())
        path.write_text("{}")  # torn
        assert choose_matmul("auto").name == "onednn"
    (tmp_path / "file").write_text("")
    with matmul.deciding_in(tmp_path / "file"):
        assert choose_matmul("auto").name == "onednn"
