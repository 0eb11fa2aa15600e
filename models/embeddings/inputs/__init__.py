"""From what a client sends to token ids.

texts       prefixes, vocabularies, limits, cuts
token_ids   whose ids are they, when a client sends ids
pairs       a query and a document in one
padding     from texts of several lengths to one rectangle
"""
