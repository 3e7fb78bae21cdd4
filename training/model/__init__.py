"""The encoder and what stands on it: XLM-R over packed rows or a causal language model, heads, the compact vocabulary.

Imports `formats` and `pretrained`; needs torch, so `training.engine`, `eval.prediction` and the job alone import it.
Begin with `encoder`, and `parent`, by which a stage has its model in memory; `packing` says how sequences lie in a row,
`attention` keeps each to itself, `heads` read what they need.
"""
