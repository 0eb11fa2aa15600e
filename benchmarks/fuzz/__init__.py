"""Hostile bytes for the doors and decoders: ``python -m benchmarks.fuzz TARGET --runs N``.

targets   what is fed: a function of bytes that raises only where something is broken
requests  targets that are requests: each surface's contract, jobs, forms
front     the target that is the front door: HTTP, server-sent events, WebSockets
files     targets that are files: pictures, recordings, documents
weights   targets that are weights: headers, adapters
scratch   the file that an input is written to
mutation  changes bytes and JSON
tensors   changes safetensors files
corpus    the seeds, in ``tests/corpus``, and where a broken input is kept
"""
