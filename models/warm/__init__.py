"""Warm models: loaded once, leased to jobs, and given work in runs.

pool         leases models and evicts the least recently used
sleepers     models that were evicted and can come back in seconds
load_errors  errors of loads, by name
model        a loaded model, and a lease of it
loader       makes an engine from a catalog row
batch        groups requests into runs and settles each request
runner       runs a batch: halves what fails, lowers the budget when out of memory
steps        the same for an engine that generates step by step
feeder       the base class of batch and steps
lane         a thread that runs batches on the device
scheduler    chooses the parts of the next run
watch        detects a hung device
ticket       a request on the device, and its parts
threads      runs an engine's CPU work in a thread
load         counts a device's runs, for the metrics
"""
