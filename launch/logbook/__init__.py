"""What the jobs of a stage printed, start by start, and why a stage stands where it stands.

Imports `launch.status` and `launch.executors`; writes nothing, and asks Slurm no more than `status` does. Begin with
`selection`, which finds the stage that a person means and the elements that it was sent in; `parts` cuts their log
files by start and stage, `following` reads on while they grow, `why` puts cause, evidence and what was tried together.
"""
