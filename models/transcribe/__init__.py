"""Transcription: recordings to text, and who speaks when.

request       what an engine is asked for, and what it answers
whisper       the engine for speech: Whisper by ctranslate2
diarization   the engine for speakers: sherpa-onnx
audio         any file to samples, and where somebody speaks in them
"""
