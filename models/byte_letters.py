"""The letters that stand for bytes in vocabularies of byte-level BPE, as GPT-2 introduced them.

Printable bytes of Latin-1 stand for themselves, the others for the letters from U+0100 on.
"""

from __future__ import annotations

_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = (byte for byte in range(0x100) if byte not in set(_PRINTABLE))

BYTES = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(0x100 + index): byte for index, byte in enumerate(_OTHERS)
}
