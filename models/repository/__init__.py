"""A row for a model that the catalog does not have: described by its repository's own files.

describe     the entry: from what the operator names to a row, and where each value comes from
rows         of several names together, with the operator's own values
choices      the operator's own values, from a file
address      what the operator writes: ``owner/name@revision``, ``file:///folder``, ``s3://…``
copies       where a repository's files can be read: on this machine, at the hub, or afar
checkpoints  a single safetensors file: found, and its header read
fetched      copies on this machine that are put together
single_file  what is read of a single file of images
facts        values with their sources
chat, embeddings, transcribe, images   what is read of a repository of each surface
libraries    what the installed libraries can load
hub          the hub's answers about a repository
machine      what a description depends on besides the repository
weights      sizes of the weights, and what is wrong with them
"""
