"""``python scripts/wrap.py FILE …`` wraps the prose of Markdown files at 100 columns.

Code blocks, tables, headings and pictures are unchanged; code spans and URLs are not broken.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

WIDTH = 100
_ITEM = re.compile(r"(\s*)([-*]|\d+\.) (.*)")
_UNBROKEN = re.compile(r"`[^`]*`|\]\([^)]*\)")
_HARD = "\x00"  # stands for a space at which no line may break


def filled(text: str, indent: str) -> str:
    """Return a paragraph, or a list item after its marker, in lines of at most ``WIDTH``."""
    text = _UNBROKEN.sub(lambda match: match[0].replace(" ", _HARD), text)
    lines = textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(_HARD, " ")


def wrapped(page: str) -> str:
    """Return a page with its prose wrapped."""
    lines: list[str] = []
    paragraph: list[str] = []
    indent, in_code = "", False

    def flush() -> None:
        if paragraph:
            lines.append(filled(" ".join(paragraph), indent))
        paragraph.clear()

    for line in page.split("\n"):
        fence = line.lstrip().startswith("```")
        if in_code or fence or not line.strip() or line.startswith(("|", "#", "![", "<")):
            flush()
            lines.append(line)
            in_code ^= fence
            indent = ""
        elif item := _ITEM.fullmatch(line):
            flush()
            indent = f"{item[1]}{item[2]} "
            paragraph.append(item[3])
        else:
            paragraph.append(line.strip())
    flush()
    return "\n".join(lines)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(wrapped(path.read_text(encoding="utf-8")), encoding="utf-8")
