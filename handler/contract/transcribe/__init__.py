"""Transcription.

request      the body of a request
transcribe   how it is answered
shapes       a transcript in OpenAI's forms
events       the same as it comes, in a stream
speakers     who says what
subtitles    a transcript as SubRip or WebVTT
cues         its parts where lines are bounded
languages    Whisper's languages by code and by name
"""

from handler.contract.transcribe.transcribe import SURFACE

__all__ = ["SURFACE"]
