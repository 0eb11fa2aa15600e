"""Where a text is cut: at the ends of sentences, and a long sentence between its clauses or words.

A stop ends a sentence where white space follows and what stands before is no abbreviation, initial
or number of a list. The full stops of Chinese and Japanese end one by themselves.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

MAX_CHARACTERS = 280  # of what is spoken at once
_SENTENCE_S, _PARAGRAPH_S, _CLAUSE_S, _NONE_S = 0.3, 0.65, 0.12, 0.0
_LOOK = 64  # characters around a stop that say whether it ends a sentence
_CLOSING = r"[\"'”’»)\]}）」』】]*"
_END = re.compile(rf"[.!?…؟۔।]+{_CLOSING}(?=\s|$)|[。！？｡]+{_CLOSING}")
_CLAUSE = re.compile(r"[,;:—–)](?=\s)|[，、；：]")
_ABBREVIATIONS = frozenset(
    word
    for line in (
        "adj adm al approx apr art assoc aug ave bldg bros ca capt cf ch co col comm corp dec dept",
        "dr ed eds e.g eg esp est etc ext feb fig figs fr fri ft gen gov hon i.e ie inc jan jr jul",
        "jun lat lt ltd maj mar max messrs min misc mme mon mr mrs ms mt nat no nos nov oct op p",
        "para ph.d pl pp pres prof pt rd ref rep rev sat sec sen sep sept sgt sq sr st sun tel thu",
        "thur thurs tue tues univ u.s usa v viz vol vols vs wed bzw d.h nr s.o str u.a usw vgl z.b",
    )
    for word in line.split()
)
_ENDING = frozenset({"etc", "al", "co", "inc", "corp", "ltd", "jr", "sr", "u.s", "usa", "usw"})
_ORDINAL = re.compile(r"(?:^|\n)\s*\d{1,3}\.$")


@dataclass(frozen=True)
class Sentence:
    """What is spoken at once.

    Attributes:
        text: without white space around it.
        number: of the sentence that it is of, from 1.
        pause_s: of silence behind it.
    """

    text: str
    number: int
    pause_s: float


def split(text: str) -> list[Sentence]:
    """Cut a text; together the pieces are the text, but for white space."""
    pieces: list[Sentence] = []
    number = 0
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.split("\n") if line.strip()]
        for line in lines:
            for sentence in _sentences(line):
                number += 1
                pieces += _bounded(sentence, number)
        if pieces and lines:
            last = pieces[-1]
            pieces[-1] = Sentence(last.text, last.number, _PARAGRAPH_S)
    return pieces


def _sentences(line: str) -> Iterator[str]:
    start = 0
    for match in _END.finditer(line):
        if _ends(line, start, match):
            yield line[start : match.end()].strip()
            start = match.end()
    if rest := line[start:].strip():
        yield rest


def _ends(line: str, start: int, match: re.Match[str]) -> bool:
    """Whether a sentence ends at a stop."""
    following = line[match.end() : match.end() + _LOOK].lstrip()[:1]
    if match[0][0] != ".":
        return not following.islower()
    if match[0].startswith(".."):
        return not following.islower()
    before = line[max(start, match.start() - _LOOK) : match.start()]
    if not following:
        return True
    if following.islower() or _ORDINAL.search(f"{before}."):
        return False
    word = re.split(r"[\s(\[\"“]", before)[-1].lstrip("'‘").lower()
    if len(word) == 1 and word.isalpha() and not (word == "i" and before.endswith("I")):
        return False
    if word in {"no", "nos", "p", "pp", "art", "fig", "ch", "vol", "sec"}:
        return not following.isdigit()
    return word not in _ABBREVIATIONS or (word in _ENDING and following.isupper())


def _bounded(sentence: str, number: int) -> list[Sentence]:
    """The pieces of a sentence that are short enough, cut where one would breathe."""
    pieces: list[Sentence] = []
    rest = sentence
    while len(rest) > MAX_CHARACTERS:
        cut, pause_s = _cut(rest)
        if piece := rest[:cut].strip():
            pieces.append(Sentence(piece, number, pause_s))
        rest = rest[cut:].strip()
    if rest:
        pieces.append(Sentence(rest, number, _SENTENCE_S))
    elif pieces:
        pieces[-1] = Sentence(pieces[-1].text, number, _SENTENCE_S)
    return pieces


def _cut(text: str) -> tuple[int, float]:
    """Where to cut a text that is too long, and for how long to pause there."""
    head = text[:MAX_CHARACTERS]
    clauses = [match.end() for match in _CLAUSE.finditer(text, 0, MAX_CHARACTERS)]
    if clauses and clauses[-1] > MAX_CHARACTERS // 3:
        return clauses[-1], _CLAUSE_S
    space = head.rfind(" ")
    if space > MAX_CHARACTERS // 3:
        return space, _NONE_S
    cut = MAX_CHARACTERS
    while cut > MAX_CHARACTERS // 2 and unicodedata.combining(text[cut]):
        cut -= 1
    return cut, _NONE_S
