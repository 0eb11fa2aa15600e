"""From a client's inputs to token ids.

texts      prefixes, vocabularies, limits and cuts
pairs      a query and a document as one input
counting   tokenises long texts in bounded memory
token_ids  the vocabulary of token ids that a client sends
padding    texts of several lengths as one rectangle, and back
"""
