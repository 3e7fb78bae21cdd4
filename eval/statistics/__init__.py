"""How sure a difference between two recipes is: pure functions of scores by seed and of what each example contributes.

Imports nothing of this project. Begin with `differences`: a recipe against the baseline, with interval and p-value.
`resample` draws test sets anew, the same for every recipe; `seeds` says how much scores vary between seeds, which with
two or three of them no bootstrap can; `intervals` joins the two; `permutation` and `several` are the tests beside it;
`power` says what this number of seeds could have shown. For `eval.studies`: `branches` tests runs that share trained
steps, `correlations` few units by two values, `prediction` what measures of a unit predict. Not covered: what is a fair
comparison, and where the numbers come from.
"""
