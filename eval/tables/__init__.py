"""From scores to what people read: rows, cells with their spread, the benchmarks' averages, XTREME's layout.

Imports `training.tasks` for the benchmarks' languages and `eval.metrics` for how predictions are laid out; no torch,
and nothing of the store: rows come in as records. Begin with `rows`, the one shape of a score; `cells` are computed
from them, and `table` draws those; `baseline` knows how recipes are named and what each is compared with. A table to
publish is a `sheet`. `facts` (of languages) and `references` (published rows) are data, with their sources.
"""
