"""Where jobs come in: RunPod's queue and HTTP, with the same worker behind both.

queue     the SDK's loop; the only package that knows the SDK
http      OpenAI's routes, answered at once
metrics   what ``/metrics`` shows
outcome   the outcome of a request, for the metrics
watch     notices an event loop that stands still, and ends a process that does not end
"""
