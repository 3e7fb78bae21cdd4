"""One train stage: a parent's encoder, trained on one step of a recipe with fresh heads.

    tasks       what a task is, and all that are known    model        encoder, heads, packed rows
    pretrained  what training starts from                 checkpoints  state on disk, whole or not at all
    formats     what a kind of task means                 engine       the training itself
    data        sources, the token cache, batches

Imports `slurm.base` alone besides itself, never `eval` or `launch`; pyproject.toml holds the order of the rooms. `spec`
(the settings), `seeds`, `stopwatch` and `flops` lie below all of them. Planning needs no torch: `model`, `checkpoints`
and `engine` do. Begin with `engine.train` for the way of a stage; with `tasks.task` and `formats.base` to add to it.
"""
