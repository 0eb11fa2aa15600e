"""Embeddings: vectors of texts, and the ranking of documents by them.

request        what is asked and what is answered
texts          from inputs to token ids: prefixes, vocabularies, limits, cuts
engine         a request's life: prepare, run, finish; what every backend shares
torch, onnx    the backends: one forward pass each
lexical        BGE-M3's sparse vectors
ranking        scores of documents for a query, from vectors
cross_encoder  an engine of its own: scores from a model that reads query and document at once
"""
