"""From a trained model to predictions and scores, language by language; needs torch.

Imports `training` and `eval.metrics`. Begin with `stage`, one target's evaluation; `predict` runs what has a head,
`causal` and `generation` answer prompts with a causal model, `retrieval`, `alignment`, `mining` and `answers` compare
sentences; `dev` is a training's English dev. Nothing is offered here: who reads results must not pay for torch.
"""
