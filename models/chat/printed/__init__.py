"""Printed text, line by line: PP-OCRv6 on onnxruntime (arXiv:1911.08947, arXiv:2206.03001).

engine        pages in, lines out
detection     where the lines of a page are
components    connected regions of a mask
rectangles    the smallest rectangle around points, at any angle
recognition   what a line says
"""
