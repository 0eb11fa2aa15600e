"""A row for a model that the catalog does not have: described by its repository's own files.

describe    the entry: from what the operator names to a row, and where each value comes from
rows        of several names together, with the operator's own values
choices     the operator's own values, from a file
address     what the operator writes: ``owner/name@revision``, ``hf://…``, ``file:///folder``
copies      where a repository's files can be read: on this machine, or at the hub
facts       values with their sources
chat, embeddings, transcribe, images   what is read of a repository of each surface
libraries   what the installed libraries can load
hub         the hub's answers about a repository
machine     what a description depends on besides the repository
weights     sizes of the weights, and what is wrong with them
"""
