"""Hostile bytes for the doors and decoders: ``python -m benchmarks.fuzz TARGET --runs N``.

targets   what is fed: a function of bytes that raises only where something is broken
requests  targets that are requests: each surface's contract, jobs, forms
files     targets that are files: pictures, recordings, weights, adapters
mutation  changes bytes and JSON
corpus    the seeds, in ``tests/corpus``, and where a broken input is kept
"""
