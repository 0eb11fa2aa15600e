"""Embeddings: vectors of texts, and rankings of documents.

request        requests and answers; all that the handler imports
engine         what the backends for vectors share: preparing, running and finishing a request
torch, onnx    the backends: one forward pass each
cross_encoder  engine: scores from a model that reads query and document together
encoder        the networks of the torch backends: our own BERT, or a library's model
inputs         from a client's inputs to token ids
lexical        BGE-M3's sparse vectors
ranking        scores of documents for a query, from vectors
judge          an engine: rerankers that answer yes or no
"""
