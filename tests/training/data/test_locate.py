"""Where data lies and what is in it: splits.yaml, folders, the Hub's rows."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.tables.averages import BENCHMARKS
from slurm.base import UsageError, UserError
from tests.training.stage_data import without_answers
from training import formats
from training.data import hub, load, locate
from training.spec import DataFile, HubPart, TaskData
from training.tasks import find
from training.tasks.catalogue import TASKS

NLI_ROWS = "A man sleeps.\tHe rests.\tentailment\nIt rains.\tIt is dry.\tcontradiction\n"


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a data folder from names and contents; `splits`: its splits.yaml."""

    def make(splits: str | None = None, **contents: str) -> Path:
        for name, content in contents.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".tsv").write_text(content)
        if splits is not None:
            (tmp_path / "splits.yaml").write_text(splits)
        return tmp_path

    return make


def manifest(root: Path) -> dict[str, int]:
    lines = (root / "MANIFEST.tsv").read_text().splitlines()[1:]
    return {line.split("\t")[0]: int(line.split("\t")[1]) for line in lines}


# --- the real data ---


NOT_HERE = {"mlm", "mewslix"}  # no data of these in ../shared/data


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.files.train and name not in NOT_HERE])
def test_training_data_has_the_published_count(name: str, shared_data: Path) -> None:
    data = locate.find_training(find(name), shared_data, None, None)
    train, dev = load.load_training(data)
    counts = manifest(shared_data)
    files = [os.path.relpath(part.path, shared_data) for part in data.train + data.dev if isinstance(part, DataFile)]
    assert len(train) + len(dev) == sum(counts[file] for file in files)
    for examples in (train, dev):
        assert len({example.id for example in examples}) == len(examples)
    if data.hold_out:
        assert not {e.group for e in train} & {e.group for e in dev}


# Mined and ranked text are not counted by file; parallel text leaves short and repeated pairs out (test_parallel); of
# images there are captions alone (test_image_text).
COUNTED_OTHERWISE = ("mining", "dual_encoder", "parallel", "image_text")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name, task in TASKS.items() if task.languages and task.format not in COUNTED_OTHERWISE]
)
def test_every_languages_data_has_the_published_count(name: str, shared_data: Path) -> None:
    counts, task = manifest(shared_data), find(name)
    found = locate.find_languages(task, shared_data, (*task.languages, *task.extra_languages)).found
    assert found
    for language, split in found.items():
        examples = load.load_language(task, language, split, None)
        assert {len(examples)} == {
            counts[os.path.relpath(part.path, shared_data)] for part in split if isinstance(part, DataFile)
        }
        assert len({example.id for example in examples}) == len(examples)


def test_hold_out_takes_the_documented_share(shared_data: Path) -> None:
    data = locate.find_training(find("tydiqa"), shared_data, None, None)
    train, dev = load.load_training(data)
    assert data.hold_out == 0.1
    assert (len(dev), len(train)) == (350, 3696 - 350)  # of the published training file, as splits.yaml says


def test_panx_has_29_of_40_languages_and_the_extra_ones_on_request(shared_data: Path) -> None:
    panx = find("panx")
    found = locate.find_languages(panx, shared_data, None)
    assert len(found.found) == 29
    assert found.missing == ("et", "eu", "fa", "he", "hu", "jv", "ka", "my", "ta", "th", "yo")
    assert list(locate.find_languages(panx, shared_data, ["qu", "de"]).found) == ["qu", "de"]


def test_the_unlabelled_answers_of_xtremes_own_tydiqa_are_seen(shared_data: Path, tmp_path: Path) -> None:
    """XTREME's copies of the test files have an empty answer to each question."""
    task, form = find("tydiqa"), formats.get("span")
    path = tmp_path / "tydiqa.goldp.ko.dev.json"
    path.write_text(without_answers(shared_data / f"tydiqa/tydiqa-goldp-v1.1-dev/{path.name}.gz"))
    (tmp_path / "splits.yaml").write_text('tydiqa: {test: ["tydiqa.goldp.{lang}.dev.json"]}')
    examples = load.load_language(task, "ko", locate.find_languages(task, tmp_path, ["ko"]).found["ko"], 50)
    assert len(examples) == 50 and not any(form.labelled(example) for example in examples)


def test_a_hash_is_that_of_the_decompressed_content(shared_data: Path) -> None:
    data = locate.find_training(find("qqp"), shared_data, None, None)
    part = data.train[0]
    assert isinstance(part, DataFile)
    assert part.sha256 == hashlib.sha256(gzip.decompress(Path(part.path).read_bytes())).hexdigest()


# --- a folder of one's own ---


def test_without_splits_yaml_the_downloads_own_names_serve(folder: Callable[..., Path]) -> None:
    root = folder(xnli__test_de=NLI_ROWS)
    (root / "xnli" / "test_de.tsv").rename(root / "xnli" / "test-de.tsv")
    found = locate.find_languages(find("xnli"), root, None)
    assert list(found.found) == ["de"]
    assert len(found.missing) == 14


def test_plain_and_gz_stand_in_for_each_other_with_one_hash(folder: Callable[..., Path]) -> None:
    root = folder("xnli: {test: ['x-{lang}.tsv.gz']}\n")
    (root / "x-de.tsv").write_text(NLI_ROWS)
    plain = locate.find_languages(find("xnli"), root, ["de"]).found["de"][0]
    (root / "x-de.tsv").unlink()
    (root / "x-de.tsv.gz").write_bytes(gzip.compress(NLI_ROWS.encode(), mtime=7))
    packed = locate.find_languages(find("xnli"), root, ["de"]).found["de"][0]
    assert isinstance(plain, DataFile) and isinstance(packed, DataFile)
    assert plain.sha256 == packed.sha256
    assert plain.path != packed.path
    assert [e.label for e in load.load_language(find("xnli"), "de", (packed,), None)] == [  # type: ignore[attr-defined]
        "entailment",
        "contradiction",
    ]


def test_max_train_and_max_eval_are_the_first_after_hold_out(folder: Callable[..., Path]) -> None:
    rows = "".join(f"premise {n}\thypothesis\tneutral\n" for n in range(200))
    root = folder("mnli: {train: [m.tsv], hold_out: 0.5}\n", m=rows)
    train, dev = load.load_training(locate.find_training(find("mnli"), root, None, None))
    few, fewer = load.load_training(locate.find_training(find("mnli"), root, 5, 3))
    assert (few, fewer) == (train[:5], dev[:3])


def test_a_missing_file_of_a_named_task_is_an_error_that_names_it(folder: Callable[..., Path]) -> None:
    root = folder("mnli: {train: [m.tsv], dev: [gone.tsv]}\n", m=NLI_ROWS)
    with pytest.raises(UserError, match=r"gone\.tsv: no such file \(nor gone\.tsv\.gz\)"):
        locate.find_training(find("mnli"), root, None, None)


def test_half_a_pair_of_files_is_an_error(folder: Callable[..., Path]) -> None:
    root = folder()
    (root / "tatoeba").mkdir()
    (root / "tatoeba" / "tatoeba.deu-eng.deu").write_text("Hallo\n")
    with pytest.raises(UserError, match=r"tatoeba\.deu-eng\.eng: no such file"):
        locate.find_languages(find("tatoeba"), root, None)


def test_a_file_that_changed_after_planning_is_refused(folder: Callable[..., Path]) -> None:
    root = folder("mnli: {train: [m.tsv], hold_out: 0.5}\n", m=NLI_ROWS)
    data = locate.find_training(find("mnli"), root, None, None)
    (root / "m.tsv").write_text(NLI_ROWS + "More.\tMore.\tneutral\n")
    with pytest.raises(UserError, match="changed since the experiment was planned"):
        load.load_training(data)


@pytest.mark.parametrize("of_folder", [False, True])
def test_a_link_out_of_the_folder_may_lead_to_what_the_user_owns(
    folder: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    of_folder: bool,
) -> None:
    outside = tmp_path_factory.mktemp("cache") / "m.tsv"
    outside.write_text(NLI_ROWS)
    root = folder("mnli: {train: [data/m.tsv], hold_out: 0.5}\n")
    if of_folder:
        (root / "data").symlink_to(outside.parent)
    else:
        (root / "data").mkdir()
        (root / "data" / "m.tsv").symlink_to(outside)
    data = locate.find_training(find("mnli"), root, None, None)
    assert [file.path for file in data.train if isinstance(file, DataFile)] == [str(root / "data" / "m.tsv")]

    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(UserError, match=r"leads out of data\.root .* to .*m\.tsv, which is another user's: put a copy"):
        locate.find_training(find("mnli"), root, None, None)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ("mnly: {train: [m.tsv]}", r"splits\.yaml:1: task mnly: unknown; did you mean mnli\?"),
        ("version: 1\nmnli: {trian: [m.tsv]}", r"splits\.yaml:2: mnli: key trian: unknown; did you mean train\?"),
        ("mnli: {train: [../m.tsv]}", r"splits\.yaml:1: mnli: train: \.\./m\.tsv: give a path inside .* without"),
        ("mnli: {train: [/etc/passwd]}", r"splits\.yaml:1: mnli: train: /etc/passwd: give a path inside"),
        ("mnli: {train: m.tsv}", r"splits\.yaml:1: mnli: train: give a list of files"),
        ("mnli: {train: [m.tsv], hold_out: 2}", r"splits\.yaml:1: mnli: hold_out: give a share between 0 and 1"),
        ("mnli: {train: [m.tsv], dev: [m.tsv], hold_out: 0.1}", r"hold_out takes dev from train"),
        ("mnli: {train: [a]}\nmnli: {train: [b]}", r"splits\.yaml:2: mnli is given twice"),
        ("version: 2", r"splits\.yaml:1: version 2: this Stepstone reads version 1"),
        ("mnli: [", r"splits\.yaml:1: not YAML"),
        ("- mnli", r"splits\.yaml:1: a task was expected here"),
    ],
)
def test_a_wrong_splits_yaml_is_refused_with_its_line(splits: str, message: str, folder: Callable[..., Path]) -> None:
    root = folder(splits, m=NLI_ROWS)
    with pytest.raises(UserError, match=message) as refused:
        locate.find_training(find("mnli"), root, None, None)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\tneutral\na\tb\n", r"m\.tsv:2: 2 columns instead of 3"),
        ("a\tb\tneutral\na\tb\tmaybe\n", r"m\.tsv:2: label 'maybe' is none of entailment, neutral"),
        ("", r"no labelled example in train"),
    ],
)
def test_a_malformed_row_is_refused_with_file_and_line(content: str, message: str, folder: Callable[..., Path]) -> None:
    root = folder("mnli: {train: [m.tsv], hold_out: 0.5}\n", m=content)
    with pytest.raises(UserError, match=message):
        load.load_training(locate.find_training(find("mnli"), root, None, None))


def test_bytes_that_are_no_text_are_refused_with_their_line(folder: Callable[..., Path]) -> None:
    root = folder("mnli: {train: [m.tsv], hold_out: 0.5}\n")
    (root / "m.tsv").write_bytes(b"a\tb\tneutral\na\t\xff\tneutral\n")
    with pytest.raises(UserError, match=r"m\.tsv:2: not UTF-8"):
        load.load_training(locate.find_training(find("mnli"), root, None, None))


@pytest.mark.parametrize("cut", [5, 30, -4])
def test_half_a_gzip_file_is_refused(cut: int, folder: Callable[..., Path]) -> None:
    root = folder("mnli: {train: [m.tsv], hold_out: 0.5}\n")
    (root / "m.tsv.gz").write_bytes(gzip.compress(NLI_ROWS.encode())[:cut])
    with pytest.raises(UserError, match=r"m\.tsv\.gz: "):
        locate.find_training(find("mnli"), root, None, None)


def test_an_unknown_language_is_a_usage_error(shared_data: Path) -> None:
    with pytest.raises(UsageError, match="target xnli: language xx"):
        locate.find_languages(find("xnli"), shared_data, ["xx"])


def test_tatoebas_other_languages_are_there_where_their_files_are_and_named(tmp_path: Path) -> None:
    """In no benchmark, and so in neither its list nor its averages."""
    (tmp_path / "tatoeba").mkdir()
    for name in ("deu", "ber", "swe"):
        for side in (name, "eng"):
            (tmp_path / f"tatoeba/tatoeba.{name}-eng.{side}").write_text("One.\nTwo.\n")
    task = find("tatoeba")
    named = locate.find_languages(task, tmp_path, ["de", "ber", "sv", "kab"])
    assert (set(named.found), named.missing) == ({"de", "ber", "sv"}, ("kab",))
    assert len(load.load_language(task, "ber", named.found["ber"], None)) == 2
    assert set(locate.find_languages(task, tmp_path, None).found) == {"de"}
    assert (len(task.languages), len(BENCHMARKS["xtreme-r"].languages("tatoeba"))) == (36, 41)
    with pytest.raises(UsageError, match="language swe: it is called sv here"):
        locate.find_languages(task, tmp_path, ["swe"])


@pytest.mark.parametrize(
    "entry",
    ["tatoeba: {test: [a.de, a.en]}", "xnli: {test: {german: a.tsv}}", "mewslix: {test: {mentions: a.jsonl}}"],
)
def test_roles_that_a_format_does_not_have_are_refused(entry: str, folder: Callable[..., Path]) -> None:
    name = entry.partition(":")[0]
    root = folder(entry)
    with pytest.raises(UserError, match=rf"task {name}: test takes [\[{{].*: mend its entry in .*splits\.yaml"):
        locate.find_languages(find(name), root, None)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root .*gone: no such folder"):
        locate.find_training(find("mnli"), tmp_path / "gone", None, None)


# --- hold-out ---


@given(st.lists(st.text(), max_size=30), st.floats(0.01, 0.99))
def test_hold_out_keeps_groups_together_and_loses_nothing(groups: list[str], share: float) -> None:
    example = formats.base.Example
    examples = [example(id=str(n), language="en", group=group) for n, group in enumerate(groups)]
    train, dev = load.split_by_group(examples, share)
    assert sorted([*train, *dev], key=lambda e: int(e.id)) == examples
    assert not {e.group for e in train} & {e.group for e in dev}


def test_hold_out_is_the_documented_function() -> None:
    digest = hashlib.sha256(b"Ein Satz").digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    assert load.held_out("Ein Satz", place + 1e-9)
    assert not load.held_out("Ein Satz", place - 1e-9)


# --- what comes without labels, and text in many languages ---


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("xnli", "xnli/test-de.tsv", "Es regnet.\tEs ist nass.\nSie singt.\tSie schweigt.\n"),
        ("pawsx", "pawsx/test-de.tsv", "Es regnet.\tEs ist nass.\nSie singt.\tSie schweigt.\n"),
        ("panx", "panx/test-de.tsv", "Anna\nsingt\n\nBonn\n"),
        ("udpos", "udpos/test-de.tsv", "Anna\nsingt\n\nBonn\n\n"),
    ],
)
def test_xtremes_own_test_files_come_without_labels(name: str, file: str, content: str, tmp_path: Path) -> None:
    """They are predicted, for its submission, and not scored."""
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(content)
    task = find(name)
    split = locate.find_languages(task, tmp_path, ["de"]).found["de"]
    examples = load.load_language(task, "de", split, None)
    assert [example.id for example in examples] == ["0", "1"]
    assert not any(formats.get(task.format).labelled(example) for example in examples)


def test_a_labelled_file_with_one_row_too_short_is_malformed(folder: Callable[..., Path]) -> None:
    root = folder("xnli: {test: ['x-{lang}.tsv']}\n")
    (root / "x-de.tsv").write_text(NLI_ROWS + "only\ttwo\n")
    split = locate.find_languages(find("xnli"), root, ["de"]).found["de"]
    with pytest.raises(UserError, match=r"x-de.tsv:3: 2 columns instead of 3"):
        load.load_language(find("xnli"), "de", split, None)


def test_training_data_without_any_gold_is_refused(folder: Callable[..., Path]) -> None:
    root = folder("pawsx: {train: [x.tsv], dev: [y.tsv], test: ['x-{lang}.tsv']}\n")
    (root / "x.tsv").write_text("a\tb\t0\n")
    (root / "y.tsv").write_text("a\tb\n")
    with pytest.raises(UserError, match="task pawsx: no labelled example in dev"):
        load.load_training(locate.find_training(find("pawsx"), root, None, None))


@pytest.mark.parametrize(
    ("template", "names", "roles"),
    [
        (
            "mlm/{lang}.txt",
            ("mlm/de.txt", "mlm/fr.txt.gz", "mlm/README.txt"),
            {"mlm/de.txt": "de", "mlm/fr.txt.gz": "fr"},
        ),
        ("wiki/*/{lang}.txt", ("wiki/a/de.txt", "wiki/b/nds.txt"), {"wiki/a/de.txt": "de", "wiki/b/nds.txt": "nds"}),
        (
            "t/{lang}/part-*.txt",
            ("t/de/part-0.txt", "t/de/part-1.txt"),
            {"t/de/part-0.txt": "de", "t/de/part-1.txt": "de"},
        ),
        ("t/{lang}.txt", ("t/de.txt", "t/de.txt.gz"), {"t/de.txt": "de"}),
    ],
)
def test_the_language_of_text_is_in_its_files_name(
    template: str, names: tuple[str, ...], roles: dict[str, str], tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        content = b"text\n"
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    (tmp_path / "splits.yaml").write_text(f'mlm: {{train: ["{template}"], hold_out: 0.1}}\n')
    data = locate.find_training(find("mlm"), tmp_path, None, None)
    found = {os.path.relpath(part.path, tmp_path): part.role for part in data.train if isinstance(part, DataFile)}
    assert found == roles


def test_text_of_no_language_is_refused_or_has_a_role(folder: Callable[..., Path]) -> None:
    root = folder("mlm: {train: [de.txt], hold_out: 0.1}\n")
    (root / "de.txt").write_text("Text.\n")
    with pytest.raises(UserError, match=r"de.txt: of which language\? Write \{lang\} in its place"):
        locate.find_training(find("mlm"), root, None, None)
    (root / "splits.yaml").write_text("mlm: {train: {de: de.txt}, hold_out: 0.1}\n")
    (part,) = locate.find_training(find("mlm"), root, None, None).train
    assert isinstance(part, DataFile) and part.role == "de"


# --- the Hub ---


def test_without_local_data_the_pinned_hub_serves() -> None:
    data = locate.find_training(find("anli"), None, None, None)
    assert [part.split for part in data.train if isinstance(part, HubPart)] == ["train_r1", "train_r2", "train_r3"]
    found = locate.find_languages(find("xquad"), None, None)
    assert found.missing == ()
    assert found.found["th"] == (
        HubPart("google/xquad", "51adfef1c1287aab1d2d91b5bead9bcfb9c68583", "xquad.th", "validation"),
    )


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.hub.repo and not task.hub.revision])
def test_nothing_is_loaded_from_the_hub_without_a_pin(name: str, tmp_path: Path) -> None:
    task = find(name)
    look = locate.find_training if task.trains else locate.find_languages
    with pytest.raises(UserError, match=r"no revision of .* on the Hub is pinned: give data\.root") as refused:
        look(task, tmp_path, *((None, None) if task.trains else (None,)))  # type: ignore[operator]
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if not task.hub.repo and not task.sources])
@pytest.mark.parametrize("given", [True, False])
def test_what_is_on_no_hub_asks_for_a_folder(name: str, given: bool, tmp_path: Path) -> None:
    task = find(name)
    look = locate.find_languages if task.languages else locate.find_training
    where = f"not in {tmp_path}" if given else "data.root is not given"
    with pytest.raises(
        UserError, match=rf"task {name}: its data are on no hub .*{where}: give data\.root, a folder with"
    ):
        look(task, tmp_path if given else None, *((None,) if task.languages else (None, None)))  # type: ignore[operator]


def test_the_hubs_rows_become_the_same_examples() -> None:
    from datasets import ClassLabel, Dataset, Features, Sequence, Value

    features = Features(
        {
            "tokens": Sequence(Value("string")),
            "ner_tags": Sequence(ClassLabel(names=["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"])),
        }
    )
    dataset = Dataset.from_dict({"tokens": [["Ada", "in", "Rom"]], "ner_tags": [[1, 0, 5]]}, features=features)
    (row,) = hub.named_rows(dataset)
    example = formats.get("tagging").from_row(row, find("panx"), "de")
    assert (example.words, example.tags) == (("Ada", "in", "Rom"), ("B-PER", "O", "B-LOC"))


@pytest.mark.parametrize(
    ("name", "row", "label"),
    [
        ("anli", {"uid": "u", "premise": "p", "hypothesis": "h", "label": "contradiction"}, "contradiction"),
        ("xnli", {"premise": "p", "hypothesis": "h", "label": 2}, "contradiction"),
        ("mnli", {"premise": "p", "hypothesis": "h", "label": "neutral", "idx": 4}, "neutral"),
        ("qqp", {"question1": "p", "question2": "h", "label": "duplicate", "idx": 4}, "paraphrase"),
        ("pawsx", {"sentence1": "p", "sentence2": "h", "label": "0", "id": 4}, "different"),
    ],
)
def test_the_hubs_labels_have_our_names(name: str, row: dict[str, object], label: str) -> None:
    example = formats.get("sequence").from_row(row, find(name), "en")
    assert (example.first, example.second, example.label) == ("p", "h", label)


def test_tydiqas_languages_are_told_apart_by_id() -> None:
    row = {"id": "korean-1", "question": "q", "context": "c d", "answers": {"text": ["d"], "answer_start": [2]}}
    form, task = formats.get("span"), find("tydiqa")
    assert form.from_row(row, task, "en") is None
    assert form.from_row(row, task, "ko").id == "korean-1"


@pytest.mark.slow
def test_offline_the_hub_gives_one_line(tmp_path: Path) -> None:
    code = (
        "from training.data import load, locate\nfrom training.tasks import find\nfrom slurm.base import UserError\n"
        "try:\n    load.load_training(locate.find_training(find('hellaswag'), None, 5, 5))\n"
        "except UserError as error:\n    print(error)\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("Rowan/hellaswag@218ec52e09a7 train: cannot be fetched: ")
    assert run.stdout.count("\n") == 1


def test_planning_imports_no_torch() -> None:
    imports = "import sys, training.data.locate, training.data.load"
    code = f"{imports}; print({{'torch', 'transformers', 'datasets'}} & {{*sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_a_record_of_data_is_plain_json(folder: Callable[..., Path]) -> None:
    from dataclasses import asdict

    root = folder("mnli: {train: [m.tsv], hold_out: 0.5}\n", m=NLI_ROWS)
    data = locate.find_training(find("mnli"), root, 1, 1)
    assert isinstance(data, TaskData)
    assert json.loads(json.dumps(asdict(data)))["hold_out"] == 0.5
