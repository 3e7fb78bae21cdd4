"""`stepstone table`: what it prints, writes and refuses, on an experiment with results in its store."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars
import pytest
from click.testing import Result
from typer.testing import CliRunner

from launch.cli.app import app
from launch.plan import Plan
from launch.results import contributions
from launch.store import Store
from launch.store.artifacts import generation_of, publish_language
from slurm.base import UsageError, UserError
from tests.launch.workspace import Workspace, make

TARGETS = ["xnli", "xquad", "tatoeba"]
_OF_LANGUAGE = {"de": 70.0, "en": 80.0, "zh": 60.0, "sw": 40.0}


def _publish(plan: Plan) -> None:
    """Scores as jobs would leave them: recipe squad is 5 points better, every seed above 1 has a point more."""
    store = Store(plan.experiment.store)
    recipes = {key: recipe for (recipe, _, _), key in plan.paths.items()}
    for stage in plan.stages.values():
        if stage.kind == "train":
            continue
        generation = "g" if stage.parent else generation_of(plan.start_of(stage).identity)
        for language, split in plan.by_digest[stage.definition].languages.items():
            better = 5.0 if recipes[stage.key] == "squad" else 0.0
            score = _OF_LANGUAGE[language] + better + (stage.seed or 1) - 1 + (0.6 if stage.seed == 2 and better else 0)
            scores = {"accuracy": score, "f1": score, "exact_match": score / 2, "f1_corrected": score}
            wanted = {"xnli": ["accuracy"], "tatoeba": ["accuracy"]}.get(
                stage.task, ["f1", "exact_match", "f1_corrected"]
            )
            record = {"scores": {name: scores[name] for name in wanted}, "examples": 1, "generation": generation}
            publish_language(
                store.stage_folder(stage.folder), generation, language, split, record | {"code": "c"}, b"{}\n"
            )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """What each example contributes is not known here: the errors are those of seeds."""
    workspace = make(tmp_path_factory.mktemp("tables"))
    _publish(workspace.plan(targets=TARGETS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contributions, "of_stage", lambda *_: {})
        yield workspace


@pytest.fixture(scope="module")
def file(study: Workspace) -> str:
    return str(study.file(targets=TARGETS))


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["table", *arguments], catch_exceptions=False, env={"COLUMNS": "80"})


def _lines(*arguments: str) -> list[list[str]]:
    result = _run(*arguments)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout  # no terminal, no colours
    return [line.split() for line in result.stdout.splitlines()]


def test_the_papers_layout(file: str) -> None:
    lines = _lines(file)
    assert lines[0] == ["small"]
    assert ["xnli", "xquad", "tatoeba"] in lines and ["recipe", "accuracy", "f1", "accuracy"] in lines
    assert ["none", "70.5", "±0.5", "75.5", "±0.5", "55.0"] in lines
    assert ["squad", "+5.3", "±0.3^", "+5.3", "±0.3^", "+5.8", "±0.8^"] in lines
    text = " ".join(word for line in lines for word in line)
    assert "none: its score, others: their difference to none, seed by seed; ± standard error over 2 seeds" in text
    assert "two-sided, after Holm over the 3 differences of this table that can be tested" in text
    assert "on these test sets as they are" in text


def test_one_seed_says_that_it_is_untested(study: Workspace, file: str) -> None:
    lines = _lines(str(study.file("one.yaml", targets=["xnli"], seeds=["1"])))
    assert ["squad", "+5.0^"] in lines
    assert "one seed, so without errors and untested" in " ".join(word for line in lines for word in line)


def test_languages_and_groups_of_them(file: str) -> None:
    lines = _lines(file, "--languages", "xnli")
    assert lines[0] == ["small:", "xnli", "by", "language"]
    assert ["mean", "de", "en", "zh"] in lines
    assert ["none", "70.5", "±0.5", "70.5", "±0.5", "80.5", "±0.5", "60.5", "±0.5"] in lines
    lines = _lines(file, "--languages", "xnli", "--by", "script")
    assert ["mean", "Latin", "Han"] in lines and ["recipe", "accuracy", "2", "languages", "1", "language"] in lines
    assert ["none", "70.5", "±0.5", "75.5", "±0.5", "60.5", "±0.5"] in lines
    assert ["Latin:", "de,", "en;", "Han:", "zh"] in lines
    titles = [line[1:] for line in _lines(file, "--by", "seen") if line[:1] == ["small:"]]
    assert titles == [["xnli", "by", "seen"], ["xquad", "by", "seen"], ["tatoeba", "by", "seen"]]


def test_metric_profile_and_columns(file: str) -> None:
    assert ["recipe", "exact_match"] in _lines(file, "--metric", "exact_match")
    assert ["recipe", "accuracy", "f1_corrected", "accuracy"] in _lines(file, "--profile", "corrected")
    assert ["tatoeba", "xnli"] in _lines(file, "--columns", "tatoeba, xnli")
    lines = _lines(file, "--columns", "xnli,qa")
    assert ["xnli", "qa"] in lines and ["squad", "+5.3", "±0.3*^", "-"] in lines
    assert any(line[:4] == ["no", "average", "qa;", "missing:"] for line in lines)


def test_a_published_row_stands_beside_with_its_source(file: str) -> None:
    lines = _lines(file, "--reference", "xtreme-xlmr-large")
    assert ["XLM-R", "Large", "(XTREME)", "79.2", "76.6", "57.3"] in lines
    assert "Hu et al. 2020 (arXiv 2003.11080)" in " ".join(word for line in lines for word in line)


def test_a_file_gets_the_format_of_its_name(file: str, tmp_path: Path) -> None:
    begins = {"csv": "table,row,", "md": "**small**", "tex": "% \\use", "html": "<!doctype html>", "txt": "small\n"}
    names = {"md": "markdown", "tex": "latex", "txt": "terminal"}
    for suffix, begin in begins.items():
        out = tmp_path / f"table.{suffix}"
        assert _run(file, "--out", str(out)).stdout == ""
        text = out.read_text()
        assert text.startswith(begin)
        printed = _run(file, "--format", names.get(suffix, suffix)).stdout
        assert [line.rstrip() for line in printed.splitlines()] == [line.rstrip() for line in text.splitlines()]
    assert len(list(tmp_path.iterdir())) == len(begins)  # nothing else is left there


def test_json_has_every_cell(file: str) -> None:
    record: dict[str, Any] = json.loads(_run(file, "--json", "--columns", "xnli").stdout)
    assert record["schema"] == 1
    (of_table,) = record["tables"]
    assert [(cell["row"], cell["kind"], cell["score"]) for cell in of_table["cells"]] == [
        ("none", "score", 70.5), ("squad", "difference", pytest.approx(75.8)),
    ]  # fmt: skip
    assert of_table["cells"][1]["difference"] == pytest.approx(5.3) and of_table["caption"]


def test_json_goes_to_a_file_too(file: str, tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    answer = _run(file, "--json", "--out", str(out))
    assert answer.stdout == "" and f"written: {out}" in answer.stderr
    assert json.loads(out.read_text()) == json.loads(_run(file, "--json").stdout)


def test_two_tables(study: Workspace, file: str, tmp_path: Path) -> None:
    CliRunner().invoke(app, ["collect", file], catch_exceptions=False)
    kept = tmp_path / "before.parquet"
    kept.write_bytes((study.root / "store/results/small/results.parquet").read_bytes())
    result = _run("--diff", str(kept), file)
    text = " ".join(result.stdout.split())
    assert "squad +0.0 ±0.0 +0.0 ±0.0 +0.0 ±0.0" in text and "less" in text and "not tested" in text
    records = json.loads(_run("--diff", str(kept), file, "--metric", "exact_match", "--json").stdout)
    assert {cell["column"] for cell in records["tables"][0]["cells"]} == {"xquad"}


def test_a_result_that_does_not_verify_is_named(study: Workspace, file: str) -> None:
    record = next((study.root / "store/stages").glob("*/languages/*/de-*.json"))
    content = record.read_bytes()
    record.write_bytes(content[:-9])
    answer = _run(file, "--format", "csv")
    assert record.read_bytes() == content[:-9]
    record.write_bytes(content)
    assert "does not count: " in answer.stderr and "its checksum is not that of its content" in answer.stderr
    assert "does not count" not in answer.stdout


def test_two_days(study: Workspace, file: str) -> None:
    """The table of a day is the last one that was kept until its end."""
    CliRunner().invoke(app, ["collect", file], catch_exceptions=False)
    folder = study.root / "store/results/small"
    (kept,) = (folder / "history").iterdir()
    assert kept.read_bytes() == (folder / "results.parquet").read_bytes()
    frame = polars.read_parquet(kept)
    frame.with_columns(polars.col("score") - 1).write_parquet(folder / "history/2026-01-05.parquet")
    for arguments in (["--diff", f"{file}@2026-01-09", file], [file, "--diff", "2026-01-05", "2999-01-01"]):
        assert "squad +1.0 ±0.0 +1.0 ±0.0 +1.0 ±0.0" in " ".join(_run(*arguments).stdout.split())
    with pytest.raises(
        UsageError, match="2026-01-04: there is no table of that day or one before; the first is of 2026-01"
    ):
        _run(file, "--diff", "2026-01-04", file)


REFUSALS = [
    (["--columns", "xnil"], "--columns xnil: did you mean xnli?"),
    (["--columns", "qa", "--by", "seen"], "--columns qa: averages are of the published metrics; leave out --by"),
    (["--metric", "blue"], "--metric blue: known are accuracy, exact_match, f1, f1_corrected."),
    (["--metric", "f1", "--profile", "corrected"], "--metric f1: it says which metric; leave out --profile"),
    (["--languages", "pawsx"], "--languages pawsx: known are xnli, xquad, tatoeba, all."),
    (["--languages", "all", "--columns", "xnli"], "--languages all says which target it is; leave out --columns"),
    (["--by", "continent"], "--by continent: it is family, script, size or seen"),
    (["--reference", "bert"], "--reference bert: known are xtreme-xlmr-large, "),
    (["--reference", "xlmr-base", "--by", "seen"], "--reference: published rows are of whole targets"),
    (["--format", "pdf"], "--format pdf: it is terminal, csv, markdown, latex or html"),
    (["--out", "table.pdf"], "--out table.pdf: which format? its name ends in .txt, .csv, .md, .tex, .html"),
    (["--out", "nowhere/t.md"], "--out nowhere/t.md: there is no folder nowhere"),
    (["--diff", "a.yaml", "b.yaml"], "--diff A B: says of which two"),
    (["--diff", "2026-02-30", "2026-11-20"], "2026-02-30: "),
    (["--json", "--format", "csv"], "--json and --format do not go together"),
]


def test_what_means_nothing_is_one_line(file: str) -> None:
    for arguments, said in REFUSALS:
        with pytest.raises(UsageError) as refused:
            _run(file, *arguments)
        assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


def test_what_two_tables_cannot_be_made_of_is_one_line(tmp_path: Path) -> None:
    for arguments, said in (
        ([], "which experiment?"),
        (["--diff", "2026-11-20", "2026-11-26"], "--diff 2026-11-20: of which experiment? FILE@2026-11-20, or"),
        (["--diff", str(tmp_path / "no.parquet"), "b"], f"{tmp_path}/no.parquet: No such file or directory"),
    ):
        with pytest.raises(UserError) as refused:
            _run(*arguments)
        assert str(refused.value).startswith(said)
