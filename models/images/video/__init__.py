"""Videos with sound by LTX-2.3.

engine    loads the pipelines and runs them
plan      from a request to a clip, or to an error
fields    the request fields that are refused or limited
weights   the transformer of a checkpoint in one file
delivery  a quality in which a video fits an answer
mp4       encodes videos, and decodes stills of them
"""
