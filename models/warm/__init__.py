"""Warm models: loaded once, lent, and fed.

pool        lends models, evicts the one least recently used
model       a loaded model, and how one is borrowed
loader      from a catalog row to an engine
batch       gathers requests, runs the device, settles every one
steps       the same for an engine that takes steps
feeder      what both share
scheduler   which parts run next
watch       notices a device that does not come back
ticket      a request on the device, and its parts
threads     work on the CPU, in a thread where it takes long
load        what a device has done so far
"""
