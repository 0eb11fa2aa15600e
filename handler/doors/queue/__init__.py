"""Jobs from RunPod's queue, in the SDK's loop: the one room that knows the SDK.

start      import it, warm the model, run
scaler     takes jobs as slots fall free, and starts each as it arrives
updates    tells how far a job is
delivery   brings answers to the platform, or knows which it could not
pauses     how long to wait before the next try

The SDK is pinned. What is put in place of its own asks first whether it is still needed
(``scaler``); docs/decisions.md says why each is.
"""

from handler.doors.queue.start import run

__all__ = ["run"]
