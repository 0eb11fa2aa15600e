"""Random answers to a JSON Schema: walks through what its grammar lets follow, byte by byte."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from models.chat.request import Grammar

_TOKENIZER = LLTokenizer("byte")
_CLOSERS = b'"}]'
_LATER = b"0nt1,:{[aA-"  # once an answer should end: what leads out of most places
_EAGER, _LONGEST = 150, 2500  # bytes after which an answer should end, and after which it has not


def matcher(grammar: Grammar) -> LLMatcher:
    """Return a matcher of a vetted grammar."""
    made = LLMatcher(_TOKENIZER, grammar.compiled())
    assert not made.is_error(), made.get_error()
    return made


def accepts(grammar: Grammar, value: Any) -> bool:
    """Return whether an answer can be a value, written without and with blanks."""
    for separators in ((",", ":"), (", ", ": ")):
        text = json.dumps(value, ensure_ascii=False, separators=separators)
        tokens = list(text.encode())
        walk = matcher(grammar)
        if walk.validate_tokens(tokens) < len(tokens):
            return False
        walk.consume_tokens(tokens)
        if not walk.is_accepting():
            return False
    return True


def walk(grammar: Grammar, chance: random.Random) -> str | None:
    """Return a random answer; None for one that does not end in time."""
    path, text = matcher(grammar), bytearray()
    while len(text) < _LONGEST:
        bits = np.frombuffer(path.compute_bitmask(), np.uint8)
        allowed = np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist()
        assert allowed, bytes(text)
        if path.is_accepting() and (
            len(allowed) == 1 or chance.random() < 0.5 or len(text) > _EAGER
        ):
            return text.decode()
        byte = _next([one for one in allowed if one < 256], chance, eager=len(text) > _EAGER)
        path.consume_token(byte)
        text.append(byte)
    return None


def _next(allowed: list[int], chance: random.Random, *, eager: bool) -> int:
    closers = [byte for byte in _CLOSERS if byte in allowed]
    if closers and (eager or chance.random() < 0.3):
        return chance.choice(closers)
    if eager and chance.random() < 0.5 and (later := [one for one in _LATER if one in allowed]):
        return later[0]
    plain = [byte for byte in allowed if 32 < byte < 127]
    return chance.choice(plain if plain and chance.random() < 0.9 else allowed)
