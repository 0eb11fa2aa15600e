"""Clients' files in, results out.

files       a URL, a data URI or base64 becomes a file of the job's own
guard       connections to public addresses only
bucket      results in an S3-compatible store, as links
upload      one upload, tried again after failures that may pass
signatures  signatures by the store's clock, where this machine's is wrong
loras       LoRA adapters by name: fetched once
allowed     the addresses that the operator allows
"""
