"""Does the order of intermediate tasks change zero-shot transfer?

Begin with `study`, which puts together: `design`, orders, controls and what is compared; `effects`, within seeds;
`forgetting`, of earlier tasks; `tables`. Not covered: which runs are missing, which `eval.studies.transfer` says.
"""
