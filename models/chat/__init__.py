"""Chat: token ids in, token ids out.

request      what an engine is asked for, and what it emits
protocols    what the handler uses of an engine
text         messages to token ids, token ids to text
reading      what of an answer is text, thought or a tool call
families     how families of models call tools
admission    the checks of a request that every engine makes
grammar      which tokens may follow, where an answer has a given form
vetting      tries a grammar in a process of its own before the worker compiles it
examiner     what that process runs
schemas      clients' JSON schemas, as grammars
options      the operator's options: which engine, and how much memory
share        how a GPU's memory is divided between weights, cache and steps
in_process   an engine: transformers
vllm         an engine: vLLM
"""
