"""Chat with vLLM, whose core runs in a process of its own.

engine     the engine
start      the arguments and the environment that vLLM starts with
loras      the adapters that it holds
running    requests that vLLM's process works on
sampling   a request's sampling and logprobs, in vLLM's types
worker     what its worker processes are asked besides vLLM's own questions
"""
