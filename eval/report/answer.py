"""What an experiment says so far, in plain sentences: a difference is called sure by its adjusted p-value alone."""

from collections.abc import Iterable

from eval.report.content import Content, Grid
from eval.report.words import count, score, some
from eval.tables.baseline import BASELINE, baseline_of, is_baseline, split
from eval.tables.sheet import Entry

_LEVEL = 0.05


def asked(content: Content) -> str:
    """What was asked, as a sentence."""
    recipes = {split(recipe)[1] for recipe in content.recipes if not is_baseline(recipe)}
    models = len({split(recipe)[0] for recipe in content.recipes})
    targets = [of_target.target for of_target in content.targets]
    against = f" (against {BASELINE})" if _has_baseline(content.recipes) and recipes else ""
    starts = f", from each of {count(models, 'start model')}" if models > 1 else ""
    return (
        f"Which of {count(len(recipes), 'recipe')}{against}{starts} helps {count(len(targets), 'target')}"
        f" ({some(targets, 12)}), evaluated in languages that the models were never fine-tuned on?"
        f" {_seeds(content)} each."
    )


def _seeds(content: Content) -> str:
    """Of a race, what each pair has differs."""
    if content.least_seeds is not None:
        return f"{content.least_seeds} to {count(len(content.seeds), 'seed')}"
    return count(len(content.seeds), "seed").capitalize()


def progress(content: Content) -> str:
    """How far it is, as a sentence."""
    if not content.is_partial:
        return f"All {count(content.total, 'stage')} are finished."
    counts = ", ".join(f"{number} {state}" for state, number in content.counts.items() if state != "finished")
    # Those of a race hold at every look.
    looks = (
        "" if content.least_seeds is not None else " Its tests hold for one look, not for who looks until one shows."
    )
    return (
        f"This report is partial: {content.finished:,} of {count(content.total, 'stage')} are finished ({counts})."
        f" Means are of the runs that have all their languages so far.{looks}"
    )


def in_one_sentence(content: Content) -> str:
    """The answer."""
    columns = [of_target.target for of_target in content.targets]
    matrix = content.matrix
    tested_columns = [name for name in columns if any(_p(entry) is not None for _, entry in _of_column(matrix, name))]
    prefix = "So far, " if content.is_partial else ""
    if not any(entry.value is not None for column in columns for _, entry in _of_column(matrix, column)):
        return "There is no answer yet: no target has all its scores."
    if not _has_baseline(matrix.recipes) or all(map(is_baseline, matrix.recipes)):
        return _capital(f"{prefix}there are scores, and nothing to compare them with: {_lacking(matrix)}.")
    if not tested_columns:
        return _capital(
            f"{prefix}no difference to {BASELINE} can be tested: that takes two seeds that differ, of both."
        )
    gains = [(column, *best) for column in tested_columns if (best := _surely(matrix, column, better=True))]
    losses = [(column, *worst) for column in tested_columns if (worst := _surely(matrix, column, better=False))]
    targets = count(len(tested_columns), "target")
    if gains:
        sentence = f"{prefix}on {len(gains)} of {targets} a recipe is surely better than {BASELINE}, {_farthest(gains)}"
    else:
        sentence = f"{prefix}no recipe is surely better than {BASELINE} on any of {targets}"
    if losses:
        sentence += f"; on {len(losses)} one is surely worse, {_farthest(losses)}"
    return _capital(f"{sentence}.")


def of_target(content: Content, column: str) -> str:
    """What is best on a target, and how sure that is."""
    of_column = _of_column(content.matrix, column)
    scored_recipes = [(recipe, entry) for recipe, entry in of_column if entry.score is not None and _is_sound(entry)]
    if not scored_recipes:
        notes = dict.fromkeys(entry.note for _, entry in of_column)
        return f"no complete score yet ({some(list(notes), 3)})"
    scores = {recipe: entry.score for recipe, entry in of_column}
    recipe, entry = max(scored_recipes, key=lambda pair: _level(pair[1], scores.get(baseline_of(pair[0]))))
    text = f"highest: {recipe}, {score(entry.score)}"
    if len(scored_recipes) < len(content.matrix.recipes):
        text += f", of {len(scored_recipes)} of {count(len(content.matrix.recipes), 'recipe')}"
    if entry.kind != "difference":
        return f"{text} {entry.spread}".rstrip()
    text += f": {entry.number} {entry.spread} to {baseline_of(recipe)}".replace("  ", " ")
    return f"{text}; {_how_sure(entry)}"


def _level(entry: Entry, baseline_score: float | None) -> float:
    """Where recipes are on one scale though their seeds differ: the baseline's score and the difference to it."""
    if baseline_score is None or entry.kind != "difference" or entry.alone or entry.value is None:
        return entry.score or 0.0
    return baseline_score + entry.value


def _is_sound(entry: Entry) -> bool:
    """Whether not all of its seeds diverged."""
    return not entry.diverged or entry.diverged < entry.seeds


def _how_sure(entry: Entry) -> str:
    p = _p(entry)
    if p is None:
        return "not tested: one seed, or seeds that agree to the last digit"
    if p < _LEVEL:
        return f"surely {'better' if (entry.value or 0.0) > 0 else 'worse'} than {BASELINE} ({_p_text(p)} after Holm)"
    seeds = entry.difference.seeds_needed if entry.difference else None
    more = f"; one as large, alone and before Holm, would take about {count(seeds, 'seed')} to show" if seeds else ""
    return f"it may be chance ({_p_text(p)} after Holm){more}"


def _p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _of_column(matrix: Grid, column: str) -> list[tuple[str, Entry]]:
    at = matrix.columns.index(column)
    return [(recipe, entries[at]) for recipe, entries in matrix.sheet.rows]


def _p(entry: Entry) -> float | None:
    return entry.adjusted_p if entry.kind == "difference" and entry.value is not None else None


def _surely(matrix: Grid, column: str, *, better: bool) -> tuple[str, Entry] | None:
    """The recipe that is farthest from the baseline of those surely on one side of it."""
    sign = 1 if better else -1
    sure = [
        (recipe, entry)
        for recipe, entry in _of_column(matrix, column)
        if (p := _p(entry)) is not None and p < _LEVEL and sign * (entry.value or 0.0) > 0
    ]
    return max(sure, key=lambda pair: sign * (pair[1].value or 0.0), default=None)


def _farthest(cells: list[tuple[str, str, Entry]]) -> str:
    column, recipe, entry = max(cells, key=lambda cell: abs(cell[2].value or 0.0))
    remark = "most of all " if len(cells) > 1 else ""
    return f"{remark}{recipe} on {column} ({entry.number} {entry.spread})".replace(" )", ")")


def _lacking(matrix: Grid) -> str:
    return f"{BASELINE} is the only recipe" if _has_baseline(matrix.recipes) else f"the recipes lack {BASELINE}"


def _has_baseline(recipes: Iterable[str]) -> bool:
    return any(map(is_baseline, recipes))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
