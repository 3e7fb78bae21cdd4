"""docs/adding-a-study.md: its code, as it stands there, is a study that says what was planted, and draws it."""

import re
from typing import Any

import numpy as np

from eval.figures import drawing
from eval.studies.finding import Finding
from eval.studies.records import NONE, Recipe, Results, Run
from eval.studies.study import Study
from launch.experiment.study import StudySection
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "adding-a-study.md").read_text()
FUNCTION, LINE, KEY = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
RECIPES: list[Recipe] = [((task,),) for task in "abcdefg"]


def _names(code: str, **given: Any) -> dict[str, Any]:
    """What a piece of the page defines."""
    names = {"__name__": "page", **given}
    exec(code, names)
    return names


def _study() -> Study:
    (study,) = _names(f"STUDIES = ({LINE.strip()})", Study=Study, find_agreement=_names(FUNCTION)["find"])["STUDIES"]
    assert isinstance(study, Study)
    return study


def _found(results: Results) -> Finding:
    return _study().find(results)


def _results(alike: bool) -> Results:
    """Gains of recipes on three targets: the same on all, or each target's own."""
    draw = np.random.default_rng(3)
    shared_gains = {recipe: float(draw.normal(0, 3)) for recipe in RECIPES}
    runs = []
    for target in ("xnli", "panx", "tatoeba"):
        for recipe in (NONE, *RECIPES):
            gain = shared_gains.get(recipe, 0.0) if alike else float(draw.normal(0, 3)) * (recipe != NONE)
            runs += [Run(recipe, seed, target, "de", 60 + gain + float(draw.normal(0, 0.1))) for seed in (1, 2)]
    return Results(tuple(runs))


def test_what_was_planted_is_said_and_what_was_not_is_not() -> None:
    assert _found(_results(alike=True)).sentence.startswith("Recipes help 3 of 3 pairs of targets alike")
    assert "was not shown of any of 3 pairs" in _found(_results(alike=False)).sentence


def test_of_too_little_it_says_so() -> None:
    assert "Nothing can be said yet" in _found(Results()).sentence


def test_it_is_drawn() -> None:
    (plan,) = drawing.of_finding(_found(_results(alike=True)))
    assert plan.name == "agreement-gains-of-recipes-on-two-targets"
    assert len(drawing.draw(plan, 3.0)) == 1


def test_its_key_reads_tasks() -> None:
    section = _names(
        "from typing import Annotated\nfrom launch.experiment.study import *\nfrom training.spec import Says\n"
        f"class Extended(StudySection):\n{KEY}",
    )["Extended"]
    study = section.model_validate({"agreement": {"tasks": ["mnli", "squad"]}})
    assert isinstance(study, StudySection) and len(study.recipes()) == 3
