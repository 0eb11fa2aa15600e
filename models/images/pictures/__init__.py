"""Decoding, encoding and changing pictures.

decoding      encoded pictures to pixels, within limits
encoding      pixels to pictures that fit an answer
resizing      fits, pads and crops
transparency  what a picture shows, and what its transparency hides
colour        ICC profiles to sRGB
png           the chunks of a PNG
jpeg          the scans of a JPEG
"""
