"""What an array element executes on its node: `python -P -u -m launch.job MANIFEST`. The only room with torch.

Imports `launch.store` and `launch.status`, `eval.prediction` and `training.engine`. Begin with `__main__`, then
`element` (its stages in order) and `stage` (the story of one), which asks `inputs` what a stage starts from and
`results` what it leaves; `measuring` and `earlier` add to it what stands `beside` a training. Nothing is imported here:
signals get their handlers before torch comes.
"""

FAILED, TRY_AGAIN = 1, 75  # exit codes; the second: stopped by a signal, or another job is at the stage
