"""Warm models: loaded once, lent, and fed.

pool      lends models, evicts the one least recently used
loader    from a catalog row to an engine
batch     gathers requests, runs the device, settles every one
ticket    a request on the device, and its parts
waiting   who goes next
"""
