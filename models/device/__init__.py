"""The machine beneath the engines.

hardware   what it has
memory     what is kept for the next run, and what is given back
budget     how much one run should hold, measured
rounding   round sizes for a run
varlen     attention of sequences in one row
failures   the errors of engines' libraries, by their names
"""
