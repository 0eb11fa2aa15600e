"""Audio: decode any file to 16 kHz mono samples on disk, and detect speech in them.

decoding          decodes a file in a child process
decoder_process   the code that runs in that process
passes            one pass over a file
reading           reads a track's frames, past damage
mixing            converts frames of any format to one channel of 16-bit samples
containers        a file's tracks, clock and duration
timeline          places frames by the container's clock
ogg               the links of a chained Ogg file
levels            the loudness of a recording
voice_activity    detects speech
samples           stretches of samples on disk, concatenated
rate              the sample rate
"""
