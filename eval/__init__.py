"""What came out: prediction, retrieval, metrics, the collector and its tables."""
