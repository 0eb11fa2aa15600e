"""Qwen3-TTS: a language model speaks in the codes of a tokenizer of sound.

engine       the engine: requests to lines, codes to sound
line         a line while it is spoken, and how it may end
generation   the codes of several lines, frame by frame
prompt       what the model reads before it speaks
sampling     how a code is chosen
weights      the networks from a repository's files
networks     the talker, which makes the codes of a frame
codec        the tokenizer's decoder: codes to samples, as they come
settings     what a repository's files say about the model
"""
