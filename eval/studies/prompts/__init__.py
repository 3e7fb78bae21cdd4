"""Do intermediate training and prompts add up: a target's scores by recipe and by how its examples are answered.

Begin with `study`, which puts together: `modes`, the scores of a target fine-tuned, prompted and both; `effects`, what
recipes and modes change and what they give beyond the sum, with their tests; `tables`. Not covered: how prompts are
made and answered, which is in `training.formats.prompts` and `eval.prediction`.
"""
