"""What is saved while a stage trains, and what is handed on after it: safetensors and a manifest that is written last.

Imports `model` for the vocabulary's rows. Begin with `files`: what a checkpoint's folder holds and when it counts;
`saver` writes it behind the training's back, `fragments` lets any number of ranks read it, `hand_over` writes the
result.
"""
