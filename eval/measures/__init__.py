"""How complex a task is, before anything is trained on it: pure functions of texts, labels and frozen features.

Imports nothing of this project. Begin with `measure`, the numbers by name; `problems` has the two kinds of linear
models that stand behind them, and `prequential` what their labels cost to send. Which labels and features those are of
a task says `eval.prediction.measured_formats`.
"""

LABELS = {"train": 4096, "dev": 1024}  # of a task, at most: what lies beyond costs time, not knowledge
