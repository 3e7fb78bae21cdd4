"""Arrays of jobs on one cluster: send them, know where they stand, change them. Nothing here knows of language models.

The public face, for any program that runs arrays:

    limits.discover(account, partition, qos)   what one array and one user may be here
    arrays.send(ArrayRequest(…)) -> job id     or SendUnclear, LimitReached, Refused: nothing is sent twice unseen
    snapshot.look(max_age) -> Snapshot         the user's queue, one squeue a minute for all open commands
    endings.look(elements) -> Endings          how those ended that left the queue, one sacct for all open commands
    starts.look() -> Starts                    when Slurm means to start what waits, asked every five minutes at most
    jobusage.look(jobs) -> [JobUsage]          what jobs that are over got and used, by accounting
    samples.Probe(pids).look() -> Sample       in the job: what it uses now
    control.cancel, set_throttle, requeue      what changes them
    causes.classify(…) -> Verdict              why an element failed, with the line that proves it
    reasons.explain(word) -> Reason            why it waits, in plain words, and what can be done
    signals.StopFlag                           in the job: asked to stop, save where it is safe
    environment.of_job(shell) -> Passing       what of a shell's variables goes with its jobs
    rlimits.met(), blamed(verdict, limits)     limits of a process (ulimit), and failures that are theirs
    room.room(folder) -> Room                  what a folder's file system and the user's quota there still take
    base.files.write_atomic, write_once, seal  files on a shared disk, whole or not at all
    local.start(…)                             the same arrays without Slurm
    devcluster.up(Options(…))                  a real Slurm on one machine

`base` lies under everything, also under the other three packages; `devcluster` and what acts (`arrays`, `control`,
`local`) stand on top, what looks (`snapshot`, `endings`, `accounting`, `queue`) between: pyproject.toml says the order.

Every command of Slurm's goes through commands.run, where a scripted scheduler takes its place in tests; questions go
through ways.ask, which asks as older versions and sites' own commands take it.
"""
