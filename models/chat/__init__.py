"""Chat: token ids in, token ids out.

request           the requests to an engine, and the events it emits
protocols         the protocols of what the handler uses of an engine
text              converts messages to token ids, and token ids to text
detokenizer       token ids to text, as an answer grows
template          what a chat template says of itself
reading           splits an answer into text, reasoning and tool calls
calling           how a family of models calls tools: what it is told, and grammars of calls
families          the families
admission         checks of requests that all engines share
adapters          checks LoRA adapters that requests bring
sight             prepares pictures for a model that sees
grammar           which tokens may follow, if the answer must match a grammar
vetting           checks a grammar in a child process before the worker compiles it
examiner          the code that runs in that process
schemas           converts clients' JSON schemas to grammars
options           the operator's options: which engine, and how much memory
engine_arguments  the operator's further arguments of vLLM
share             divides a GPU's memory between weights, cache and steps
engine            what both engines of a language model share
in_process        the transformers engine
vllm              the vLLM engine
printed           the engine for printed text
"""
