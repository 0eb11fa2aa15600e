"""Embeddings: vectors of texts, and the ranking of documents by them.

request        what is asked and what is answered
texts          from inputs to token ids: prefixes, vocabularies, limits, cuts
token_ids      whose ids are they, when a client sends ids
pairs          a query and a document in one
padding        from texts of several lengths to one rectangle
packing        from texts of several lengths to one row, on a CPU
engine         a request's life: prepare, run, finish; what every backend shares
torch, onnx    the backends: one forward pass each
onednn         torch's linear layers on a CPU
lexical        BGE-M3's sparse vectors
ranking        scores of documents for a query, from vectors
cross_encoder  an engine of its own: scores from a model that reads query and document at once
"""
