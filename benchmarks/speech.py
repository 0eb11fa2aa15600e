"""Speech with its text: recordings with a transcript, and sentences read by espeak-ng."""

from __future__ import annotations

import random
import re
import subprocess
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.transcribe.audio.decoding import RATE_HZ

VOICES = ("en-us", "en-gb", "en-us+f3", "en-gb+m7")
# Parts of sentences. None has a number, which could be written in two ways.
_WHO = (
    "The old fisherman", "A tired teacher", "My youngest sister", "The baker on the corner",
    "Our neighbour from the north", "A quiet student", "The captain of the ship", "Her grandmother",
    "The new gardener", "A friend of mine",
)  # fmt: skip
_DID = (
    "carried a heavy basket of apples", "painted the wooden door bright green",
    "wrote a long letter to the king", "found a silver ring", "told a story about the winter",
    "repaired the broken window", "sold fresh bread and butter", "played the violin",
    "planted roses and lilies", "forgot the keys to the house",
)  # fmt: skip
_WHERE = (
    "beside the river", "in the crowded market", "behind the railway station", "near the castle",
    "under the oak tree", "at the end of the street", "in a small village", "on the island",
    "across the bridge", "in front of the library",
)  # fmt: skip
_WHEN = (
    "before the sun came up", "while the children were sleeping", "during the heavy rain",
    "when the bells began to ring", "after a very long journey", "because nobody was watching",
    "although the wind was cold", "on the last day of summer", "until the music stopped",
    "as soon as the snow melted",
)  # fmt: skip


@dataclass(frozen=True)
class Speech:
    """A file, and its text."""

    path: Path
    text: str


def sentence(chance: random.Random) -> str:
    """A sentence without numbers."""
    parts = (chance.choice(words) for words in (_WHO, _DID, _WHERE, _WHEN))
    return " ".join(parts) + "."


# Numbers, dates and abbreviations as people write them.
WITH_NUMBERS = (
    "Dr. Smith paid $9.99 for it on March 3rd, 2021.",
    "The train leaves at 7:30 and arrives at 11:45.",
    "About 25% of the 1,250 people voted on 10/12/2019.",
    "Chapter 7 begins on page 214.",
    "The tower is 324 meters high and was finished in 1889.",
    "Mr. Jones lives at 42 Green Street, approx. 3 miles away.",
    "She was born on July 4, 1976, in New York.",
    "The temperature fell to 12 degrees on Tuesday, Jan. 5.",
    "He ran 10 km in 48 minutes.",
    "There are 365 days in a year, and 24 hours in a day.",
    "The ticket costs 15 dollars, and the book costs 30.",
    "In 1969 two men walked on the moon for 21 hours.",
    "Call room 101 before 9 o'clock.",
    "The recipe needs 250 grams of flour and 4 eggs.",
    "The company sold 3 million phones in 2015.",
    "The 2nd train was 17 minutes late.",
    "Mrs. Brown has 8 cats, 2 dogs and 1 parrot.",
    "The answer is 3.14, not 2.72.",
    "The war ended in 1945, after 6 years.",
    "Only 5 of the 60 seats were empty.",
)


def read_aloud(folder: Path, minutes: float) -> list[Speech]:
    """Have espeak-ng read sentences in four voices; return files of about a minute each.

    Raises:
        FileNotFoundError: espeak-ng is not installed (Debian: apt-get install espeak-ng).
    """
    chance, made = random.Random(1), list[Speech]()
    for number in range(round(minutes)):
        sentences, samples = list[str](), list[Any]()
        while sum(map(len, samples)) < 57 * RATE_HZ:
            sentences.append(sentence(chance))
            spoken = _spoken(folder, sentences[-1], VOICES[number % len(VOICES)])
            samples += [spoken, np.zeros(int(chance.uniform(0.3, 1.5) * RATE_HZ), np.int16)]
        path = write(folder / f"read-{number}.wav", np.concatenate(samples))
        made.append(Speech(path, " ".join(sentences)))
    return made


def _spoken(folder: Path, sentence: str, voice: str) -> Any:
    path = folder / "sentence.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", path, sentence], check=True)
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        rate = file.getframerate()
    length = len(samples) * RATE_HZ // rate
    return np.interp(np.arange(length) * rate / RATE_HZ, np.arange(len(samples)), samples).astype(
        np.int16
    )


def recordings(folder: Path) -> list[Speech]:
    """Return the recordings that the file ``transcription`` lists, as in pocketsphinx-testdata.

    Its lines are ``<s> text </s> (name)``.
    """
    lines = (folder / "transcription").read_text().splitlines()
    found = (re.fullmatch(r"<s> (.*) </s> \((.*)\)", line.strip()) for line in lines)
    return [Speech(folder / f"{row[2]}.wav", row[1]) for row in found if row is not None]


def write(path: Path, samples: Any) -> Path:
    """Write samples as a WAV file: 16 kHz mono, signed 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())
    return path


def seconds(speech: Sequence[Speech]) -> float:
    """Return the total duration in seconds."""
    total = 0.0
    for recording in speech:
        with wave.open(str(recording.path)) as file:
            total += file.getnframes() / file.getframerate()
    return total


def word_error_rate(speech: Sequence[Speech], heard: Sequence[str]) -> float:
    """Return the word error rate: Levenshtein's distance in words, per spoken word."""
    errors = total = 0
    for recording, text in zip(speech, heard, strict=True):
        said = words(recording.text)
        errors, total = errors + distance(said, words(text)), total + len(said)
    return errors / total


def words(text: str) -> list[str]:
    """Return the words of a text: lower case, without punctuation, titles in full."""
    plain = re.sub(r"[^a-z ]", "", re.sub(r"[-\n]", " ", text.lower()))
    return [{"mr": "mister"}.get(word, word) for word in plain.split()]


_DIGITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
)  # fmt: skip
_FULL = {"mr": "mister", "mrs": "missus", "dr": "doctor", "jan": "january", "km": "kilometers"}
_FULL |= {"approx": "approximately", "second": "2", "3rd": "3", "percent": "%"}


def words_and_numbers(text: str) -> list[str]:
    """Words and numbers, in one of the ways in which people write them."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.lower())
    text = re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1", text).replace("%", " % ")
    text = re.sub(r"(?<=\d)/(?=\d)", " ", text).replace("o'clock", "oclock")
    plain = re.sub(r"(?<!\d)[.:]|[.:](?!\d)|[^a-z0-9.:% ]", " ", re.sub(r"['’]", "", text))
    known = {**{word: str(number) for number, word in enumerate(_DIGITS)}, **_FULL}
    return [known.get(word, word) for word in plain.split()]


def distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Levenshtein's distance of two lists of words."""
    row = list(range(len(right) + 1))
    for index, word in enumerate(left, start=1):
        before, row[0] = row[0], index
        for at, other in enumerate(right, start=1):
            cost = min(row[at] + 1, row[at - 1] + 1, before + (word != other))
            before, row[at] = row[at], cost
    return row[-1]
