"""Warm models: loaded once, lent, and fed.

pool      lends models, evicts the one least recently used
model     a loaded model, and how one is borrowed
loader    from a catalog row to an engine
batch     gathers requests, runs the device, settles every one
watch     is the device there, and does it come back?
waiting   who goes next
ticket    a request on the device, and its parts
"""
