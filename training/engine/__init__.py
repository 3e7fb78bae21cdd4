"""The loop of one train stage, and how it computes: batches, DeepSpeed or DDP, the math library, the log.

May import every other room of `training`, and nothing of `eval` or `launch`: dev scores come in as a function. Begin
with `train.train`. Nothing is offered here, so that importing the package costs nothing.
"""
