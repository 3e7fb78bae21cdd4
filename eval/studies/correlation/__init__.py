"""Which metric of an intermediate task predicts transfer?

Begin with `study`, which puts together: `pairs`, each recipe's dev metric beside its zero-shot score; `tests`, their
coefficients; `tables`. Not covered: which runs are missing, which `eval.studies.transfer` says.
"""
