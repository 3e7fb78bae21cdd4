"""What intermediate training does to alignment, in one finding."""

from collections.abc import Sequence

from eval.statistics import correlations
from eval.studies.alignment import changes as of_changes
from eval.studies.alignment import domains, tables
from eval.studies.alignment.changes import Change
from eval.studies.correlation import tables as correlation_tables
from eval.studies.correlation import tests
from eval.studies.finding import Finding, listed, write_p
from eval.studies.records import NONE, Results, show

NAME = "alignment"
# Of which there are tables; the sentence is of the first. All others are in the results.
MEASURES = ("accuracy", "cka_debiased", "cosine_gap", "language_probe")


def find(results: Results) -> Finding:
    """Of all recipes that were evaluated on parallel text as `none` was."""
    all_domains = domains.of_results(results)
    by_measure = {
        measure: [domain for domain in all_domains.of_measures if domain.measure == measure and domain.recipes]
        for measure in MEASURES
    }
    if not by_measure[MEASURES[0]]:
        text = "Nothing can be said yet: no recipe was evaluated on parallel text as `none` was."
        return Finding(NAME, text, (), (), all_domains.left_out)
    by_table = {measure: of_changes.of_domains(group) for measure, group in by_measure.items() if group}
    pairs = of_changes.with_transfer(by_measure[MEASURES[0]], results.runs)
    with_transfer = tests.of_pairs("spearman", pairs)
    return Finding(
        NAME,
        _sentence(by_table[MEASURES[0]]),
        (*(tables.of_changes(measure, changes) for measure, changes in by_table.items()),
         *((correlation_tables.of_correlations("Alignment and transfer: Spearman's rho", with_transfer, False),)
           if pairs else ()),
         tables.of_languages(MEASURES[0], by_measure[MEASURES[0]])),
        (*(tables.estimates(measure, changes) for measure, changes in by_table.items()),
         *(tables.of_layers(domain) for group in by_measure.values() for domain in group)),
        (*_limits(by_table[MEASURES[0]], bool(pairs)), *all_domains.left_out),
    )  # fmt: skip


def _sentence(changes: Sequence[Change]) -> str:
    tested_count = sum(change.adjusted_p is not None for change in changes)
    if not tested_count:
        return f"Nothing could be tested: of {len(changes)} changes of retrieval accuracy none has two seeds."
    tests_said = "1 test" if tested_count == 1 else f"{tested_count} tests"
    shown_changes = sorted((change for change in changes if change.is_shown), key=lambda change: -change.change.value)
    if not shown_changes:
        return f"No recipe was shown to change retrieval of translations, of {tests_said} over domains."
    names = [f"{show(change.recipe)} on {change.domain.name} ({change.change.value:+.1f} points, p (Holm)"
             f" {write_p(change.adjusted_p or 0.0)})" for change in shown_changes]  # fmt: skip
    return f"Retrieval of translations changed in {len(names)} of {tests_said} over domains: {listed(names)}."


def _limits(changes: Sequence[Change], has_pairs: bool) -> tuple[str, ...]:
    seeds = sorted({change.change.seeds for change in changes})
    lines = [
        f"Intervals are over {_range(seeds)} seeds of the training, with the sentences as they are; errors over"
        " sentences too are in `stepstone table`.",
        "Retrieval is the harder the more sentences there are: a change is compared within a domain, not a level"
        " between domains.",
        "One layer and pooling are tested; the layers' curves are shown and not tested.",
    ]
    if has_pairs:
        lines.append("Recipes are few and not drawn at random: a correlation over them is no cause.")
    else:
        lines.append(
            f"Whether alignment goes with transfer is not told: it takes {correlations.LEAST} recipes beside"
            f" {show(NONE)} and another target."
        )
    return tuple(lines)


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
