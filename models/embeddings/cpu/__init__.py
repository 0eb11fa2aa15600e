"""What makes a BERT fast on a CPU.

packing   texts of several lengths in one row
onednn    torch's linear layers
"""
