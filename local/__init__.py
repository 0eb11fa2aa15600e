"""The platform on one machine: RunPod's queue and the gateway in front of it, with real workers.

The worker imports nothing from here, and this package imports nothing from the worker: they
communicate over HTTP, as on RunPod.
"""
