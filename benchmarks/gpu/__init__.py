"""What our engines make of a GPU, in one command: see ``benchmarks.gpu.__main__``.

__main__    the command: parts one after the other, a table, a line of JSON
parts       which there are; each in a process of its own, for four minutes at most
part        that process
told        what a part tells while it runs, and how that is read
work        operations and bytes that a model's work takes, and what share of a limit that is
made        full-size models with random weights, made where they stay
limits      what the device reaches: one large matrix product, one large copy
embeddings, images, whisper, llama    the parts
"""
