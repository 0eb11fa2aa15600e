"""Transcription.

request          what is asked of an engine, and what it answers
faster_whisper   an engine: Whisper by ctranslate2, one window after the other
windows          the other way: windows of several recordings at once
recording        what is known of one, and where it is cut
mel, speech      its spectrum, and where somebody speaks, without ever holding all of it
samples          stretches of it, put end to end
audio            any file to samples, in a process of its own
"""
