"""Transcription.

request      the body of a request
transcribe   its answer
subtitles    a transcript as SubRip or WebVTT
languages    Whisper's languages by code and by name
"""

from handler.contract.transcribe.transcribe import SURFACE

__all__ = ["SURFACE"]
