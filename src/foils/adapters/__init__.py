"""Other people's models and indexes behind three protocols: `Encoder`, `Reranker` and `Index`."""
