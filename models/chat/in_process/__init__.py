"""Chat with transformers, in this process.

engine      the engine
paged       transformers' continuous batching, a step at a time
attention   attention over its paged cache
sampling    from scores to the next tokens
"""
