"""Transcription.

transcribe   how a request is answered
request      the body of a request
vad          its options of voice activity detection
languages    Whisper's languages by code and by name
shapes       a transcript in OpenAI's formats
subtitles    a transcript as SubRip or WebVTT
cues         the cues of subtitles with bounded lines
speakers     a transcript with its speakers
events       a transcript as it comes, in a stream
foreign      fields of other APIs
"""

from handler.contract.transcribe.transcribe import SURFACE

__all__ = ["SURFACE"]
