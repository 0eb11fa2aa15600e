"""What the engines of diffusers' pipelines share.

options        the operator's options for a row
placement      device, offloading, quantisation and compilation
single_file    loads a checkpoint in one file
quantized      parts whose weights are stored in eight bits
int8           linear layers with int8 weights
second_try     the next try of a run that was out of memory
vae_tiling     decodes in tiles after a run was out of memory
lending        pipelines of the same parts, one for each run
turns          a shorter run goes first, between two steps of a longer one
prompt_cache   embeddings of prompts
token_counter  counts a prompt's tokens without truncation
"""
