"""How alike two languages' sentence vectors are, in one layer under one pooling: pure functions, no model, no torch.

Row i of one language and row i of the other are translations. Begin with `measures`, which puts together: `retrieval`
and `hubness` are worked out of each sentence's nearest neighbours (`eval.prediction.search` finds them), `cka`,
`cosines`, `isotropy` and `probe` of the vectors. Imports nothing of ours. Not covered: how vectors come from a model.
"""
