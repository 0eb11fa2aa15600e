"""The platform on one machine: RunPod's queue and the gateway in front of it, with real workers.

Nothing here is imported by the worker, and nothing here imports it: they speak HTTP, as on RunPod.
"""
