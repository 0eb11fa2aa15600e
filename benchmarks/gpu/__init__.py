"""The performance of our engines on a GPU, in one command: see ``benchmarks.gpu.__main__``.

__main__    the command: runs the parts one by one, prints a table and a line of JSON
parts       the list of parts; each runs in its own process, for four minutes at most
part        that process
outcomes    the lines that a part writes while it runs, and their parser
work        the operations and bytes of a model's work, and their share of a limit
made        full-size models with random weights, created on the device
limits      the device's limits: the speed of one large matrix product and one large copy
embeddings, images, whisper, qwen_tts, llama    the parts
"""
