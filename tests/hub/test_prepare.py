"""`stepstone prepare` from an empty cache to jobs that run offline, as typed: against a Hub on loopback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hub import miniatures
from tests.hub.server import Hub, Repository, served
from training.pretrained.start import PINNED
from training.spec import HubPart
from training.tasks.presets import XTREME, XTREME_COMMIT

MODEL = "FacebookAI/xlm-roberta-base"
EXPERIMENT = f"""\
name: fetched
store: ./store
model: {MODEL}
recipes: [none]
targets: [tatoeba]
languages: {{tatoeba: [te, sw]}}
seeds: [1]
training: {{token_budget: 256, max_length: 32, device: cpu}}
cluster: {{executor: local}}
collect: {{job: false, every: 0}}
"""
ROWS = {  # as published: other numbers are refused
    HubPart(XTREME, XTREME_COMMIT, f"tatoeba.{code}", "validation"): rows for code, rows in (("tel", 234), ("swh", 390))
}


@dataclass(frozen=True)
class Place:
    """Where the experiment lies, and the Hub that it is fetched from."""

    root: Path
    hub: Hub

    def typed(self, *arguments: str, home: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command, with HF_HOME in the place's folder."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        home_folder = {
            "HF_HOME": str(home or self.root / "hf"),
            "HF_ENDPOINT": self.hub.endpoint,
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            [Path(sys.executable).with_name("stepstone"), *arguments],
            cwd=self.root, env=plain | home_folder | variables,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, tiny_model: Path) -> Iterator[Place]:
    """An experiment whose model and data are both on the Hub, and neither here."""
    hub = Hub()
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir() if path.is_file()}
    hub.add(Repository("models", MODEL, {PINNED[MODEL]: files | {"pytorch_model.bin": b"a pickle"}}))
    for repository in miniatures.repositories(list(ROWS), ROWS):
        repository.access = "gated"
        hub.add(repository)
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    with served(hub):
        yield Place(tmp_path, hub)


@pytest.mark.slow
def test_two_prepare_at_once_with_a_token_and_jobs_run_offline(place: Place) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(place.typed, "prepare", "experiment.yaml", HF_TOKEN=place.hub.member) for _ in range(2)]
    processes = [future.result() for future in both]
    assert [process.returncode for process in processes] == [0, 0], processes[0].stderr + processes[1].stderr
    assert f"fetching 1/3: {MODEL}\nfetching 2/3: {XTREME} tatoeba.tel validation\n" in processes[0].stderr
    assert any(f"fetched: {MODEL}, {XTREME} tatoeba.tel" in process.stdout for process in processes)
    weights = [request for request in place.hub.asked("model.safetensors", "GET") if request.host == "storage"]
    assert len(weights) == 1  # the second waited for the first
    printed = "".join(process.stdout + process.stderr for process in processes)
    assert place.hub.member not in printed
    files = [path for path in place.root.rglob("*") if path.is_file()]
    assert not [path for path in files if place.hub.member.encode() in path.read_bytes()]

    asked_before = len(place.hub.requests)
    jobs = place.typed("submit", "experiment.yaml", "--wait")
    assert jobs.returncode == 0, jobs.stderr
    assert "1 of 1 stages finished" in jobs.stderr
    assert place.hub.requests[asked_before:] == []


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_one_line_and_nothing_half_is_left(place: Place, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        process = place.typed("prepare", "experiment.yaml", home=disk, HF_TOKEN=place.hub.member)
        assert process.returncode == 1
        line = process.stderr.splitlines()[-1]
        assert line.startswith(
            f"error: model {MODEL}@{PINNED[MODEL][:12]}: cannot be fetched: no room left in {disk}: make"
        )
        assert "Traceback" not in process.stderr
        assert not list(disk.rglob("*.incomplete"))
    finally:
        subprocess.run(["umount", disk], check=True)
