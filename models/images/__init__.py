"""Images.

request     what is asked of an engine, and what it answers
diffusers   an engine: diffusers' pipelines
ltx         an engine: videos with sound
mp4         a video encoded
pictures    encoded pictures in and out
tokens      counting a prompt's tokens
checkpoint  in which way weights are stored, and layers of eight bits
"""
