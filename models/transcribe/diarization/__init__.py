"""Who speaks when.

engine    finds the turns of speakers, and names the known ones
process   sherpa-onnx, in a process of its own
"""
