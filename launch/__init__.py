"""What to run and where it stands: from the experiment file to jobs in the queue, and from the store to the table.

The way of a command through the rooms:

    experiment  the file, read strictly                  estimate   what it will cost
    plan        stages, equal ones merged, keys          results    scores, tables, exports
    store       the disk, which is the truth             executors  what runs elements: Slurm, local workers
    status      where every stage stands, and why        draft      what would be sent: decides
    submit      all that changes the queue: acts         preflight  what would fail at night, found now
    standing    cells of the matrix, totals, when done   show       what people read and programs parse
    job         what an element does on its node         usage      hours, what was used, what to ask for
    logbook     what jobs printed, and why they failed   watch      the same as `show`, live, in a terminal
    report      what came out, as a page                 cli, demo  the command line; its small example
    merging     results verified, into one table         collecting table and report made by jobs, unasked
    studies     what `eval.studies` finds in results

Begin with `plan.stages` for the nouns, then `submit.submitter` for the way down. `gc` makes room in a store; `text` has
the words that several rooms say. Only `job` needs torch. Each room imports only those before it in pyproject.toml's
order: `text`, `experiment`, `plan`, `store`, `executors`, then `results` and `estimate`, `merging`, `studies`,
`status`, `usage`, `draft`, `standing` and `report`, `submit`, then the rest, and `cli` last.
"""
