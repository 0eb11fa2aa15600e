"""The machine below the engines.

hardware   the device: its kind, memory and number type
driver     whether a machine's driver and GPU support what torch or ctranslate2 is built for
trial      tries whether the GPU computes at all, in a process of its own
memory     memory that is kept for the next run, and memory that is freed
budget     measures how large a run should be
rounding   round sizes for a run
failures   the errors of engines' libraries, by name
threads    how many threads numeric libraries use, and how they wait
kept       folders for compiled code, so that the next start finds it
varlen     attention over sequences in one row
"""
