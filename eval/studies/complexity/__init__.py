"""Does a harder intermediate task transfer more?

Begin with `study`, which puts together: `table`, what is known of each task beside its gain; `regressions`, how well
one predicts the other for a task that was left out. Not covered: how measures are computed.
"""
