"""From token ids to hidden states.

checkpoint   a folder of the hub, read without a library that knows all architectures
bert         the forward pass of BERT and XLM-RoBERTa, without padding
attention    within each text of a run
onednn       torch's linear layers on a CPU
library      sentence-transformers and transformers, for every other architecture
"""
