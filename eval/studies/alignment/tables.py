"""Alignment before and after recipes as tables and figures."""

from collections.abc import Sequence

import numpy as np

from eval.studies.alignment.changes import Change
from eval.studies.alignment.domains import Domain, Vector
from eval.studies.finding import Column, Estimate, Estimates, Matrix, Table, Value
from eval.studies.records import Recipe, show

_PREFIX = "alignment_"  # of built-in domains as targets: a plot has no room for it


def of_changes(measure: str, changes: Sequence[Change]) -> Table:
    """A row a domain and recipe."""
    return Table(
        f"{measure}: what recipes change, by domain",
        (Column("domain", "text"), Column("recipe", "text"), Column("languages", "count"), Column("seeds", "count"),
         Column("none", "score"), Column("change", "difference"), Column("95 %", "interval"), Column("p", "p"),
         Column("p (Holm)", "p")),
        tuple((change.domain.name, show(change.recipe), len(change.domain.languages), change.change.seeds,
               float(_before(change.domain, change.recipe)[:, 0].mean()), change.change.value, change.change.interval,
               change.change.p, change.adjusted_p) for change in changes),
        ("Mean over languages, at the layer and pooling of the scores. 95 % and p: Student's, over seeds;",
         "p (Holm): for all rows of this table."),
    )  # fmt: skip


def of_languages(measure: str, domains: Sequence[Domain]) -> Table:
    """A row a domain, language and recipe."""
    rows: list[tuple[Value, ...]] = []
    for domain in domains:
        for recipe in domain.recipes:
            before, change = _before(domain, recipe), np.mean([*domain.changes(recipe).values()], axis=0)
            rows += [
                (domain.name, language, show(recipe), float(before[at, 0]), float(change[at, 0]))
                for at, language in enumerate(domain.languages)
            ]
    return Table(
        f"{measure}, by language",
        (Column("domain", "text"), Column("language", "text"), Column("recipe", "text"), Column("none", "score"),
         Column("change", "difference")),
        tuple(rows),
        ("Means over seeds; nothing is tested here.",),
    )  # fmt: skip


def of_layers(domain: Domain) -> Matrix:
    """Recipes by layers: the change, mean over languages and seeds."""
    curves = [np.mean([cell[:, 1:].mean(axis=0) for cell in domain.changes(recipe).values()], axis=0)
              for recipe in domain.recipes]  # fmt: skip
    return Matrix(
        f"{domain.measure} on {domain.name}, change by layer",
        "points",
        tuple(show(recipe) for recipe in domain.recipes),
        tuple(str(layer) for layer in range(len(curves[0]))),
        tuple(tuple(float(value) for value in curve) for curve in curves),
    )


def estimates(measure: str, changes: Sequence[Change]) -> Estimates:
    return Estimates(
        f"{measure}: change against none",
        "points",
        tuple(Estimate(f"{change.domain.name.removeprefix(_PREFIX)}: {show(change.recipe)}", change.change.value,
                       change.change.interval, change.domain.name, change.is_shown) for change in changes),
    )  # fmt: skip


def _before(domain: Domain, recipe: Recipe) -> Vector:
    """What `none` has, mean over the seeds of a recipe: (languages, 1 + layers)."""
    befores = [before for seed in domain.changes(recipe) if (before := domain.baseline(seed)) is not None]
    mean_before: Vector = np.mean(befores, axis=0)
    return mean_before
