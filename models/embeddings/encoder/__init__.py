"""From token ids to hidden states, sentence embeddings and scores.

heads       sentence embeddings and scores from our BERT
bert        the forward pass of BERT and XLM-RoBERTa, without padding
attention   attention within each text of a packed run
onednn      faster linear layers on a CPU
checkpoint  reads a BERT's folder without transformers
library     sentence-transformers and transformers, for every other architecture
"""
