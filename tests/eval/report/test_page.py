"""The page of a report: its structure, what it may not do, names that mean harm, and contents with gaps."""

import hashlib
import json
import os
import re
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.report import charts, page, sections
from eval.report.content import Content, Costs, Raced, RacedPair
from eval.tables.sheet import Entry
from tests.eval.report import invented, outline

GOLDEN = Path(__file__).with_name("golden") / "outline.txt"
HOSTILE = "</script><script>alert(1)</script><!-- \"'&amp; ]]> \u2028 ${x} `y` {{z}} 日本\u202e"


def _empty() -> Content:
    """Of an experiment of which nothing has begun."""
    full = invented.content(languages=())
    gap = Entry("score", None, note="-")
    rows = tuple((recipe, (gap,) * len(entries)) for recipe, entries in full.matrix.sheet.rows)
    matrix = replace(full.matrix, sheet=replace(full.matrix.sheet, rows=rows))
    no_costs = Costs("GPU-hours", replace(full.costs.total, useful=0, idle=0, wasted=0), (), (), (), 0, 0, 0.0, None)
    targets = tuple(replace(of_target, languages=matrix, groups={}) for of_target in full.targets)
    return replace(
        full, finished=0, counts={"new": full.total}, matrix=matrix, targets=targets, curves=(), transfer=(),
        costs=no_costs, provenance=(), data=(),
    )  # fmt: skip


CONTENTS = {
    "whole": invented.content(),
    "partial": invented.partial(invented.content()),
    "one seed": invented.content(seeds=1),
    "one recipe": invented.content(recipes=("none",)),
    "no baseline": invented.content(recipes=("squad", "mnli")),
    "empty": _empty(),
}


def test_its_structure_is_as_it_was() -> None:
    """`STEPSTONE_GOLDEN=write` writes it anew: look at the difference."""
    text = "\n".join(outline.of(page.html(CONTENTS["partial"])).lines) + "\n"
    if os.environ.get("STEPSTONE_GOLDEN") == "write":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


@pytest.mark.parametrize("name", CONTENTS)
def test_every_link_leads_somewhere_and_every_id_is_there_once(name: str) -> None:
    of_page = outline.of(page.html(CONTENTS[name]))
    assert not [identifier for identifier, number in Counter(of_page.ids).items() if number > 1]
    assert set(of_page.addresses) <= set(of_page.ids)


@pytest.mark.parametrize("name", CONTENTS)
def test_people_who_hear_it_find_their_way(name: str) -> None:
    tags = outline.of(page.html(CONTENTS[name])).tags
    names = Counter(tag for tag, _ in tags)
    assert (names["h1"], names["main"], names["header"], names["footer"]) == (1, 1, 1, 1)
    assert names["caption"] == names["table"] > 0
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")
    assert all(attributes.get("aria-label") for _, attributes in tags if attributes.get("role") in ("region", "group"))
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert next(attributes for tag, attributes in tags if tag == "html")["lang"] == "en"


def test_it_allows_its_own_two_scripts_and_nothing_else() -> None:
    text = page.html(CONTENTS["whole"])
    of_page = outline.of(text)
    policy = next(
        attributes["content"] for tag, attributes in of_page.tags if tag == "meta" and "content" in attributes
    )
    assert policy.startswith("default-src 'none';") and "unsafe-eval" not in policy
    code = [
        script
        for script, (_, attributes) in zip(
            of_page.scripts, (tag for tag in of_page.tags if tag[0] == "script"), strict=True
        )
        if attributes.get("type") != "application/json"
    ]
    hashes = [b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in code]
    assert policy.split("script-src ")[1].split(";")[0].split() == [f"'sha256-{digest}'" for digest in hashes]
    assert not [attributes for _, attributes in of_page.tags if "src" in attributes or set(attributes) & {"onclick"}]


def _named(name: str) -> Content:
    """A content in which everything that people name has this in its name; a colon in a recipe ends a model's label."""
    content = invented.content(("none", f"{name.replace(':', '')}xx"), (f"{name}yy",), ("en", f"{name}zz"))
    return replace(invented.partial(content), name=name, file=name, notes=(name,))


def _check_names(name: str) -> None:
    of_page, of_plain = outline.of(page.html(_named(name))), outline.of(page.html(_named("plain")))
    assert [tag for tag, _ in of_page.tags] == [tag for tag, _ in of_plain.tags]
    assert name in "".join(of_page.text)
    scripts = [attributes.get("type") for tag, attributes in of_page.tags if tag == "script"]
    for kind, script in zip(scripts, of_page.scripts, strict=True):
        if kind == "application/json":
            json.loads(script)


def test_names_that_mean_harm_are_text() -> None:
    _check_names(HOSTILE)


@pytest.mark.slow
@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1))
@settings(max_examples=40, deadline=None)
def test_names_come_through_as_text(name: str) -> None:
    _check_names(name)


def test_a_partial_experiment_says_so() -> None:
    text = "".join(outline.of(page.html(CONTENTS["partial"])).text)
    content = CONTENTS["partial"]
    assert f"with {content.finished} of {content.total} stages finished" in text
    assert "This report is partial" in text and "The answer so far" in text
    assert "gpu-oom: CUDA out of memory" in text
    assert "squad-s1" in text and "marked †" in text


def test_a_race_has_a_row_for_each_pair() -> None:
    pair = RacedPair("mnli", "xnli", (1, 3), (2,), "equal within 0.5 after 2 seeds, without 1 that failed or diverged")
    content = replace(CONTENTS["partial"], raced=Raced(95.0, 0.5, (pair,)))
    text = " ".join("".join(outline.of(page.html(content)).text).split())
    assert pair.words in text and "95 % intervals over all looks" in text and "1, 3" in text
    assert "over all looks" not in "".join(outline.of(page.html(CONTENTS["partial"])).text)


def test_a_study_has_its_sentence_tables_plots_and_limits() -> None:
    content = CONTENTS["partial"]
    plots = charts.of_content(content)
    assert {"study-order-estimates", "study-order-matrix", "study-order-scatter"} <= plots.keys()
    section = {section.name: section.html for section in sections.all_of(sections.Page(content, plots))}["study-order"]
    text = " ".join("".join(outline.of(section).text).split())
    assert "So far: 3 of 9 scores are missing." in text and "The order changed transfer." in text
    assert "+1.25[+0.50, +2.00]" in text and "-0.50-" in text and "2 of 6 orders" in text
    assert "<code>stepstone table</code>" in section
    assert section.count('data-spec="plot-study-order-') == 3
    assert "study-order" not in "".join(outline.of(page.html(CONTENTS["whole"])).ids)


def test_an_empty_one_says_that_there_is_no_answer() -> None:
    text = "".join(outline.of(page.html(CONTENTS["empty"])).text)
    assert "There is no answer yet" in text
    assert not charts.of_content(CONTENTS["empty"])


@pytest.mark.parametrize("name", CONTENTS)
def test_every_plot_compiles_and_has_a_table_beside_it(name: str) -> None:
    import vl_convert

    plots = charts.of_content(CONTENTS[name])
    for chart in plots.values():
        vl_convert.vegalite_to_vega(chart.spec)
    by_name = {section.name: section.html for section in sections.all_of(sections.Page(CONTENTS[name], plots))}
    for plot, section in {"intervals": "matrix", "groups": "groups", "curves": "curves", "costs": "cost"}.items():
        if plot in plots:
            assert f'data-spec="plot-{plot}"' in by_name[section] and "<table" in by_name[section]


def test_what_nobody_can_count_is_cut() -> None:
    """A hundred thousand runs make no page of a hundred megabytes."""
    content = CONTENTS["whole"]
    many = replace(content, provenance=content.provenance * 2000)
    html = {section.name: section.html for section in sections.all_of(sections.Page(many, {}))}["provenance"]
    assert html.count("<tr>") < 3000
    assert "22,000 rows more are not shown" in html
