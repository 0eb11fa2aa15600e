"""Text before it is spoken.

plain       what is no speech of it is left out: markup, pictograms, control characters
sentences   where it is cut
"""
