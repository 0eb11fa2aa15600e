"""The device that engines run on: detection, memory, threads and failures.

graph      sessions of onnxruntime
hardware   detects the device: kind, memory and number type
driver     checks whether the driver and the GPU support the installed torch and ctranslate2
trial      tries in a child process whether the GPU computes at all
memory     keeps freed memory for the next run, and releases it
budget     measures how large a run should be
rounding   rounds sizes for a run
failures   classifies the errors of engines' libraries
threads    sets how many threads numeric libraries use, and how they wait
kept       folders in which compiled code outlives the worker
varlen     attention over sequences that are packed in one row
"""
