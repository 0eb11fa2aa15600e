"""Jobs from RunPod's queue, in the SDK's loop: the only package that knows the SDK.

start         import it, warm the model, run
scaler        takes jobs as slots fall free, and starts each as it arrives
polls         ask for jobs and stops, and say what the worker has
progress      tells how far a job is
delivery      brings answers to the platform, or knows which it could not
sequence      the numbers of a stream's events
backoff       how long to wait before the next try
runs          one run of a job, and what is posted of it
taken         jobs that were taken, and stops for jobs that were not
metrics_port  ``/metrics`` on a port of this machine
pings         the SDK's ping process, which ends with its worker
masks         the SDK's log without the token

The SDK is pinned. What is put in place of its own asks first whether it is still needed
(``scaler``); docs/decisions.md says why each is.
"""

from handler.doors.queue.start import run

__all__ = ["run"]
