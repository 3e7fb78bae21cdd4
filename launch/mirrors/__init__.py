"""Training logs and scores in TensorBoard, MLflow, W&B or trackio, by these programs' own libraries: where asked for.

The truth is log.jsonl of each attempt and the stages' results. A mirror reads them, in a process of its own that a
person starts: no job knows of it, waits for it or fails by it. Imports `launch.status` and below; no torch. Begin with
`readings`, what there is to mirror; `mirror` takes it to one of `sinks`; `__main__` is the process that does so, and
`supervising` starts one for each mirror and ends those that hang. The libraries are imported in `sinks` alone.
"""
