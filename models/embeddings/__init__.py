"""Embeddings: vectors of texts, and the ranking of documents by them.

request        what is asked and what is answered
inputs         from what a client sends to token ids
engine         a request's life: prepare, run, finish; what every backend shares
torch, onnx    the backends: one forward pass each
encoder        what torch's runs: BERT of our own, other architectures by their libraries
lexical        BGE-M3's sparse vectors
ranking        scores of documents for a query, from vectors
cross_encoder  an engine of its own: scores from a model that reads query and document at once
"""
