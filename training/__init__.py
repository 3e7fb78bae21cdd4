"""One train stage: task catalogue, data sources, formats, batches, encoder and heads, DeepSpeed engine, checkpoints."""
