"""Diarization: who speaks when.

engine    finds the speakers' turns, and names the known speakers
process   runs sherpa-onnx in a child process
"""
