"""Transcription: recordings to text, and who speaks when.

request       the request and result types of the engines
whisper       the transcription engine: Whisper by ctranslate2
diarization   the diarization engine: sherpa-onnx
audio         decodes files to samples, and detects speech in them
"""
