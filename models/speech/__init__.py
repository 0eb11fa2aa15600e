"""Speech: text to sound.

request      what is asked, and what comes back
text         text before it is spoken
sound        sound after it is made
choices      which voice and which language a request means
delivery     whether an answer holds a sound
utterance    a request as it is spoken, sentence by sentence
reading      a text's lines, as a model reads them
engine       what engines of speech share
english      text as Kokoro's phonemes
hibari       a small English voice on a CPU
kokoro       Kokoro-82M, on a CPU as well
qwen         Qwen3-TTS, on a GPU
"""
