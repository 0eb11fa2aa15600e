"""Faults under load: whether the local platform and its workers keep their promises.

plans      the jobs of a run and the schedule of its faults, both functions of a seed
gallery    the bodies of the jobs
history    the record of a run: each job's events, the faults, and the state at the end
checker    compares the record with the contract
reading    a stream, as its client reads it
answers    an answer without its ids and times, and the comparison of two answers
network    packets that are dropped
shuffle    turns in another order than that in which they were asked for
proxy      a TCP proxy that cuts, delays and halves connections
servers    the media server, the bucket and the receiver of webhooks
platform   the platform's process, which can be started again with the same workers
control    the file that says which faults there are inside a process
worker     the worker's process, with those faults
clock      a wall clock that jumps
names      names that do not resolve
device     engines whose device runs out of memory or is lost
processes  starts, signals and replaces the platform and the workers
observer   the requests of clients, and the notes of what they see
client     brings a job to its end, as the clients of each route do
faults     carries out the schedule
leftovers  what workers still hold when no job is left
stage      puts the parts together
report     the report as a table
"""
