"""Texts, and how near their vectors are."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

WORDS = {
    "latin": "the quick brown fox ñandú größer", "cyrillic": "быстрая лиса прыгает через",
    "arabic": "الثعلب البني السريع يقفز", "hebrew": "השועל החום המהיר קופץ",
    "japanese": "素早い 茶色の 狐が 跳ぶ", "korean": "빠른 갈색 여우가 뛴다",
    "devanagari": "तेज़ भूरी लोमड़ी कूदती", "thai": "สุนัขจิ้งจอก สีน้ำตาล กระโดด",
    "greek": "γρήγορη καφέ αλεπού πηδά", "chinese": "敏捷的 棕色 狐狸 跳过",
}  # fmt: skip


ODD = ["👩‍🚀", "42", "...", "<pad>", "[PAD]", "</s>"]  # marks of the vocabularies, too


def random_texts(count: int = 40, longest: int = 60, seed: int = 3) -> list[str]:
    """Texts in ten scripts, of one word to many."""
    chance = random.Random(seed)
    texts = []
    for index in range(count):
        words = list(WORDS.values())[index % len(WORDS)].split()
        texts.append(" ".join(chance.choices([*words, *ODD], k=chance.randint(1, longest))))
    return texts


TEXTS = random_texts()


def nearness(left: Any, right: Any) -> float:
    """The least cosine of the rows."""
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(((left * right).sum(axis=1) / norms).min())
