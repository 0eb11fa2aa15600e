"""Whisper, by ctranslate2 and faster-whisper.

engine       loads the model, and splits requests into parts
options      faster-whisper's options for a request
mode         the base class of both modes
sequential   the mode that transcribes one recording, window after window
batched      the mode that transcribes windows of several recordings together
recording    a recording's data, and its division into windows
decoded      one attempt to decode a window, and its quality
mel          the log-mel spectrogram, computed on demand
logprobs     the log probability of each token
alignment    the times of a segment's words
placing      converts times in the audio that the model reads to times in the recording
selftest     checks that ctranslate2 runs on this GPU
"""
