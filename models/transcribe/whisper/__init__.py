"""Whisper, by ctranslate2 and faster-whisper.

engine       loads the model, and makes a request's parts
options      faster-whisper's options for a request
mode         what both modes share
sequential   a mode: one recording, window after window
batched      the other mode: windows of several recordings together
recording    what is known of a recording, and how it is cut into windows
decoded      one try to decode a window, and whether it looks right
mel          its spectrogram, computed where it is looked at
logprobs     how probable the model finds each token
alignment    the times of a segment's words
placing      from times in the speech that is kept to times in the recording
selftest     whether ctranslate2 runs on this GPU
"""
