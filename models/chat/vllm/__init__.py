"""Chat with vLLM, whose core runs in a process of its own.

engine     the engine
start      the arguments and the environment that vLLM starts with
lora_room  the arguments for adapters
nap        its sleep, with the weights in RAM
loras      the adapters that it holds
running    requests that vLLM's process works on
sampling   a request's sampling and logprobs, in vLLM's types
worker     what its worker processes are asked besides vLLM's own questions
"""
