"""Audio: any file to 16 kHz mono samples on disk, and where somebody speaks in them.

decoding          decodes a file in a process of its own
decoder_process   what that process runs
passes            one reading of a file from its beginning to its end
reading           the frames of a track, and what cannot be read among them
mixing            frames of any format to one channel of 16-bit samples
containers        a file's tracks, clock and duration
timeline          where frames belong in time
ogg               the links of a chained Ogg file
levels            how loud a recording is
voice_activity    where somebody speaks
samples           stretches of samples on disk, read as one
rate              the rate of all samples
"""
