"""One picture made out of another, without a prompt.

upscale     engine: larger pictures, by Real-ESRGAN
ben2        engine: removes the background, by BEN2
u2net       engine: the same, by U²-Net
background  what these two share
source      what all three share
fields      the request fields that are ignored
tiles       cuts large pictures into tiles, and joins them without seams
networks    the networks in torch
"""
