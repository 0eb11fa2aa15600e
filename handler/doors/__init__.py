"""The ways in: jobs from RunPod's queue, requests over HTTP; the same worker behind both.

queue      the SDK's loop, the one module that knows the SDK
http       OpenAI's routes, answered at once
requests   between HTTP and the worker: bodies in, answers and errors out
forms      multipart forms, as OpenAI's clients send files
serve      listening
metrics    what ``/metrics`` shows
watch      an event loop that stands still, an end that must not wait
"""
