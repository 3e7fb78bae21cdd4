"""What the real clients make of a Hub on loopback: every data set of the catalogue in its layout, and all ways to fail.

One process fetches everything, for importing `datasets` takes seconds.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from tests.hub import miniatures, xet
from tests.hub.client import Order, Outcome
from tests.hub.server import Fault, Hub, Repository, served
from tests.paths import ROOT
from training.pretrained.start import PINNED
from training.spec import HubPart
from training.tasks import Task

COMMIT, OTHER = "1" * 40, "2" * 40
PARQUET = ".parquet"
WHOLE = "type the command again; files that came whole stay"
EXECUTED = "import pathlib; pathlib.Path(__file__).with_name('executed').touch()\n"


@dataclass(frozen=True)
class Run:
    """What came of it. `home`: the clients' folder; `output`: all that they printed."""

    hub: Hub
    outcomes: dict[str, Outcome]
    home: Path
    output: str


def carry_out(hub: Hub, orders: Iterable[Order], home: Path, **variables: str) -> Run:
    """Have a process of its own fetch."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    process = subprocess.run(
        [sys.executable, "-m", "tests.hub.client"],
        input="".join(f"{json.dumps(asdict(order))}\n" for order in orders),
        env=plain | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home)} | variables,
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    outcomes = [Outcome(**json.loads(line)) for line in process.stdout.splitlines()]
    return Run(hub, {outcome.name: outcome for outcome in outcomes}, home, process.stdout + process.stderr)


# --- the catalogue


def _one_of_each() -> dict[str, tuple[Task, str, HubPart]]:
    """A part of each repository, of GLUE and XTREME of each kind of configuration, and of each use."""
    parts = {}
    for task, language, part in miniatures.parts_of_catalogue():
        parts.setdefault(f"{task.name} {part.repo}", (task, language, part))
    return parts


OF_CATALOGUE = _one_of_each()


# --- ways to fail

_TWICE_CUT = [Fault(cut_after=1500, times=2, ending=PARQUET)]
_BUSY = [Fault(status=429, headers={"Retry-After": "1"}, times=1, method=method) for method in ("HEAD", "GET")]
FAULTS: dict[str, tuple[list[Fault], str]] = {
    "xet": ([], ""),
    "xet-cut": ([Fault(cut_after=1500, times=1, ending=PARQUET)], ""),
    "xet-damaged": ([Fault(damaged=True, ending=PARQUET, times=1)], "train-00000-of-00001.parquet arrived damaged"),
    "xet-down": ([Fault(status=404, ending=PARQUET)], "404 Not Found), domain: http"),
    "busy": (_BUSY, ""),
    "cut": (_TWICE_CUT, ""),
    "unwell": ([Fault(status=503, times=2, method="HEAD")], ""),
    "cut-always": ([Fault(cut_after=0, ending=PARQUET)], "cannot be reached, or the connection broke"),
    "down": ([Fault(status=503, method="HEAD")], f"the Hub has trouble (503): {WHOLE}"),
    "busy-always": ([Fault(status=429, headers={"Retry-After": "1"})], "the Hub had too many requests"),
    "damaged": ([Fault(damaged=True, ending=PARQUET, times=1)], "train-00000-of-00001.parquet arrived damaged"),
    "longer": ([Fault(body=b"PAR1" * 2000, ending=PARQUET, times=1)], f"another length than the Hub names: {WHOLE}"),
    "strange": ([Fault(bare=True, method="HEAD")], "does not answer as a Hub does: see HF_ENDPOINT"),
}
ACCESS = {
    "gated": "it is gated: ask for access on https://huggingface.co/datasets/org/gated, then type hf auth login",
    "private": "the Hub has no such repository for you: it was removed or renamed (give data.root), or is private",
    "missing": "the Hub has no such repository for you",
    "moved": "",
    "without-commit": "no such commit: take one of https://huggingface.co/datasets/org/without-commit/commits/main, as"
    " data: {revisions: {org/without-commit: <40 hex digits>}}",
    "script": "it has a loading script at this commit, and no code from the Hub is run: take a commit without",
    "other-commit": f"answers with commit {OTHER} instead",
    "without-split": "there is no split train in",
}


def _part(name: str, split: str = "train") -> HubPart:
    return HubPart(f"org/{name}", COMMIT, None, split)


def _repository(name: str, *faults: Fault) -> Repository:
    """A data set of more than one piece of a download, no two alike."""
    part = _part(name)
    (repository,) = miniatures.repositories([part], {part: 500 + len(name)})
    repository.xet = name.startswith("xet")
    repository.faults.extend(faults)
    return repository


def _broken(hub: Hub) -> None:
    """One repository for each way to fail."""
    for name, (faults, _) in FAULTS.items():
        hub.add(_repository(name, *faults))
    for name in ("gated", "private", "moved", "without-commit", "script", "other-commit", "without-split", "new-name"):
        hub.add(_repository(name))
    data_set = {name.removeprefix("org/"): repository for (_, name), repository in hub.repositories.items()}
    data_set["gated"].access, data_set["private"].access = "gated", "private"
    data_set["moved"].moved_to = "org/new-name"
    data_set["without-commit"].files = {OTHER: data_set["without-commit"].files[COMMIT]}
    data_set["other-commit"].files, data_set["other-commit"].answers_newest = data_set["without-commit"].files, True
    data_set["script"].files[COMMIT]["script.py"] = EXECUTED.encode()
    (other_split,) = miniatures.repositories([_part("without-split", "test")])
    data_set["without-split"].files = other_split.files


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    hub = Hub()
    for repository in miniatures.repositories([part for *_, part in miniatures.parts_of_catalogue()]):
        hub.add(repository)
    hub.add(Repository("models", "org/encoder", {COMMIT: miniatures.model_files()}))
    hub.add(
        Repository(
            "models",
            "org/damaged",
            {COMMIT: miniatures.model_files()},
            faults=[Fault(damaged=True, ending=".safetensors")],
        )
    )
    hub.add(Repository("models", "org/encoder-by-xet", {COMMIT: miniatures.model_files()}, xet=True))
    hub.add(Repository("models", "org/other-commit", {OTHER: miniatures.model_files()}, answers_newest=True))
    hub.add(Repository("models", "org/pickle", {COMMIT: PICKLE_ONLY}))
    for name, commit in PINNED.items():
        hub.add(Repository("models", name, {commit: miniatures.model_files()}, xet=True))
    hub.add(Repository("models", "org/gated", {COMMIT: miniatures.model_files()}, access="gated"))
    _broken(hub)
    orders = [
        Order(name, part.repo, part.revision, part.config, part.split, task.name, language)
        for name, (task, language, part) in OF_CATALOGUE.items()
    ]
    orders += [_order(name) for name in (*FAULTS, *ACCESS)]
    orders += [replace(_order(name), name=f"{name} again") for name in ("damaged", "xet-damaged", "longer")]
    orders += [Order(f"model {name}", f"org/{name}", COMMIT) for name in MODELS]
    orders += [Order(name, name, commit) for name, commit in PINNED.items()]
    for whose, token in (("stranger", hub.stranger), ("nobody", "hf_nobody"), ("member", hub.member)):
        orders += [replace(_order(name), name=f"{name} for {whose}", token=token) for name in ("gated", "private")]
    with served(hub):
        yield carry_out(hub, orders, tmp_path_factory.mktemp("hub"))


PICKLE_ONLY = {path: content for path, content in miniatures.model_files().items() if path != "model.safetensors"}
MODELS = ("encoder", "encoder-by-xet", "damaged", "gated", "missing", "other-commit", "pickle")


def _order(name: str) -> Order:
    return Order(name, f"org/{name}", COMMIT, None, "train")


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_CATALOGUE)
def test_every_data_set_of_the_catalogue_is_fetched_and_read(name: str, run: Run) -> None:
    task, _, _ = OF_CATALOGUE[name]
    outcome = run.outcomes[name]
    assert outcome.error == "" and outcome.rows == 2
    assert set(outcome.labels) <= {*task.labels, "None", ""} or task.format == "tagging", outcome.labels


@pytest.mark.slow
@pytest.mark.parametrize("name", PINNED)
def test_every_pinned_model_is_fetched(name: str, run: Run) -> None:
    assert run.outcomes[name].error == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAULTS, *ACCESS])
def test_trouble_is_overcome_or_one_line_that_says_what_to_do(name: str, run: Run) -> None:
    expected_words = FAULTS[name][1] if name in FAULTS else ACCESS[name]
    line = run.outcomes[name].error
    assert (expected_words in line) if expected_words else line == ""
    assert "\n" not in line and "X-Amz" not in line
    assert not line or line.startswith(f"org/{name}@{COMMIT[:12]} train: ")


@pytest.mark.slow
def test_a_download_goes_on_where_its_connection_broke(run: Run) -> None:
    ranges = [request.range for request in run.hub.asked("/org/cut/", "GET") if request.host == "storage"]
    assert ranges == ["", "bytes=1000-", "bytes=2000-"]


@pytest.mark.slow
def test_large_files_come_by_xet_where_the_hub_offers_it(run: Run) -> None:
    assert run.outcomes["model encoder-by-xet"].error == ""
    assert not [request for request in run.hub.asked("/org/xet/", "GET") if request.host == "storage"]
    assert len(run.hub.asked("/xet/v1/xorbs/", "GET")) > 3


@pytest.mark.slow
def test_what_xet_shares_between_repositories_is_fetched_anew_too(run: Run) -> None:
    assert run.outcomes["xet-damaged again"].error == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["damaged", "longer"])
def test_what_arrived_damaged_is_fetched_anew_by_the_next_command(name: str, run: Run) -> None:
    assert run.outcomes[f"{name} again"].error == ""
    stored = [request for request in run.hub.asked(f"/datasets/org/{name}/", "GET") if request.host == "storage"]
    assert len(stored) == 2


@pytest.mark.slow
def test_no_code_of_a_repository_is_run(run: Run) -> None:
    assert not list(run.home.rglob("executed"))


@pytest.mark.slow
def test_of_a_model_only_what_is_read_is_fetched(run: Run) -> None:
    assert run.outcomes["model encoder"].error == ""
    fetched_files = {
        request.path.partition("?")[0].rpartition(f"{COMMIT}/")[2] for request in run.hub.asked("/encoder/")
    }
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= fetched_files
    assert not {"pytorch_model.bin", "onnx/model.onnx", "onnx/config.json", "README.md"} & fetched_files


@pytest.mark.slow
def test_a_model_that_cannot_be_had_is_one_line(run: Run) -> None:
    line = run.outcomes["model damaged"].error
    assert line.startswith(f"model org/damaged@{COMMIT[:12]}: model.safetensors arrived damaged") and "\n" not in line
    assert f"answers with commit {OTHER} instead" in run.outcomes["model other-commit"].error
    assert "has no safetensors weights, and a pickle is never loaded" in run.outcomes["model pickle"].error
    assert "https://huggingface.co/org/gated, then type hf auth login" in run.outcomes["model gated"].error
    assert "removed or renamed (give a folder as `model:`)" in run.outcomes["model missing"].error


@pytest.mark.slow
def test_a_token_opens_what_it_may_and_goes_to_the_hub_alone(run: Run) -> None:
    assert run.outcomes["gated for member"].error == run.outcomes["private for member"].error == ""
    assert "it is gated, and not for your token: ask for access on" in run.outcomes["gated for stranger"].error
    assert "the Hub has no such repository for you" in run.outcomes["private for stranger"].error
    assert "the Hub does not take your token: type hf auth login" in run.outcomes["private for nobody"].error
    assert {request.token for request in run.hub.requests if request.host == "storage"} == {"", xet.TOKEN}
    tokens = (run.hub.member, run.hub.stranger, "hf_nobody")
    files = [path for path in run.home.rglob("*") if path.is_file()]
    assert files and not [path for path in files for token in tokens if token.encode() in path.read_bytes()]
    assert not [token for token in tokens if token in run.output]


@pytest.mark.slow
def test_no_signed_address_is_printed(run: Run) -> None:
    assert "Trying to resume download" in run.output and "X-Amz-Signature" not in run.output
