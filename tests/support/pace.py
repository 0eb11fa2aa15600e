"""How slow the fake engines are."""

from __future__ import annotations

SLOW = {"messages": [{"role": "user", "content": "x" * 2000}]}  # 20 s with 10 ms a token
