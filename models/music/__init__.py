"""Music: songs from a caption and lyrics, and covers of recordings.

request     what is asked, and what comes back
engine      ACE-Step 1.5 with diffusers' pipeline
composer    what engines of music share
checkpoint  the pipeline's parts from ACE-Step's own files
plan        from a request to the pipeline's arguments, or to an error
delivery    the bit rate in which a song fits an answer
recording   a client's recording as samples
tiles       the length of the decoder's tiles
"""
