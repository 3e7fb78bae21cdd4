"""The encoder and what stands on it: transformers' own XLM-R over packed rows, heads, the compact vocabulary.

Imports `formats` and `pretrained`; needs torch, so `training.engine`, `eval.prediction` and the job alone import it.
Begin with `encoder`; `packing` says how sequences lie in a row, `attention` keeps each to itself, `heads` read what
they need.
"""
