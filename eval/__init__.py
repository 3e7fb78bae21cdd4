"""What came out: what a model predicts on a target, how good that is, and the tables of it.

    alignment   how alike two languages' sentence vectors are: pure functions
    metrics     golds and predictions into scores: pure functions
    prediction  an evaluate stage: a model on a target's languages; needs torch
    measures    how complex a task is: its texts, labels, code length; pure functions
    statistics  how sure a difference is: intervals, tests, power; pure functions
    studies     questions asked of all results together: pure functions
    tables      rows of scores into cells, averages, tables and submissions
    report      an experiment's results as one HTML page
    figures     the same as figures for a paper: PDF, SVG, PNG

Imports `training` and `slurm.base`, never `launch`; `alignment`, `metrics`, `measures`, `statistics` and `studies`
import neither. Begin with `prediction.stage`, what an evaluate stage does; a score is worked out in `metrics`, and
`tables.rows` has the shape in which it is collected.
"""
