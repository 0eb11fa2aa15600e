"""Chat with transformers, in the worker's process.

engine     the engine
paged      transformers' continuous batching, step by step
attention  attention over its paged cache
sampling   chooses the next tokens from scores
unpaged    the same without paged attention, for models that see
"""
