"""The shapes of what leaves the worker.

They are OpenAI's, or those of the API that a route is known from, with our extensions. The worker
makes its answers without them; tests hold one against the other.
"""
