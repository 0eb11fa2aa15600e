"""Decoding and changing clients' pictures, for every engine that takes some.

request       pictures that a client sends, and what is read in them
several       the pictures of one request, within its limits
pdf           the pages of PDFs, drawn in a process of their own
pdf_process   that process
decoding      encoded pictures to pixels, within limits
resizing      fits, pads and crops
transparency  what a picture shows, and what its transparency hides
colour        ICC profiles to sRGB
png           the chunks of a PNG
jpeg          the scans of a JPEG
"""
