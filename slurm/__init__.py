"""One cluster: arrays through submitit, queue, limits, shared files, local workers, a real Slurm on one machine.

Nothing here knows of language models; it could serve any array of jobs.
"""
