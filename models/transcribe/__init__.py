"""Transcription.

request          what is asked of an engine, and what it answers
faster_whisper   an engine: Whisper by ctranslate2
sequential       its one way: one window after the other
windows          the other: windows of several recordings at once
way              what both begin with
recording        what is known of one, and where it is cut
mel, speech      its spectrum, and where somebody speaks, without ever holding all of it
certainty        how sure the model is of each token
samples          stretches of it, put end to end
speakers         another engine: who speaks when
diarizer         sherpa-onnx, in a process of its own
selftest         whether it runs on this GPU
audio            any file to samples, in a process of its own
"""
