"""Sound after it is made.

joining  sentences put end to end: silences, fades, level
tempo    faster or slower than the model can, at the same pitch
"""
