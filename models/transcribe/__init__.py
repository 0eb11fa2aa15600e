"""Transcription.

request          what is asked of an engine, and what it answers
faster_whisper   an engine: Whisper by ctranslate2
audio            any file to samples, in a process of its own
"""
