"""Speech: text to sound.

request      what is asked, and what comes back
text         text before it is spoken
sound        sound after it is made
choices      which voice and which language a request means
delivery     whether an answer holds a sound
utterance    a request as it is spoken, sentence by sentence
engine       what engines of speech share
hibari       a small English voice on a CPU
"""
