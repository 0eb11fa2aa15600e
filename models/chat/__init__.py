"""Chat: token ids in, token ids out.

request        what is asked of an engine, and what it emits
text           messages to token ids, token ids to text
transformers   an engine
"""
