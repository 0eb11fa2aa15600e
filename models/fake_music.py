"""An engine of music without weights."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.music.composer import Composer, after_step
from models.music.plan import Model, SongItem
from models.row import Row
from models.work import Ticket

OPTIONS = {"distilled": True, "text_tokens": 1024, "lyric_tokens": 2048}
DEFAULTS = {
    "duration": 10,
    "inference_steps": 4,
    "shift": 3.0,
    "lyrics": "[Instrumental]",
    "vocal_language": "en",
}
_RATE_HZ = 8000


class FakeMusic(Composer):
    """A tone, whose pitch is the seed's; a character is a token."""

    def __init__(self, row: Row) -> None:
        super().__init__(row, Model(_RATE_HZ, 320, _texts, lambda texts: [*map(len, texts)], True))
        self.delay_s = float(row.options.get("delay_s", 0.0))

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> FakeMusic:
        """Nothing to load."""
        return cls(row)

    def compose(self, ticket: Ticket[SongItem]) -> Any:
        """A tone, alike on both channels."""
        import numpy as np

        item = ticket.item
        for step in range(item.steps):
            time.sleep(self.delay_s)
            after_step(ticket, step + 1)
        places = np.arange(item.samples) * (0.1 + item.seed % 100 / 1000)
        return np.tile(0.5 * np.sin(places), (2, 1)).astype(np.float32)

    def close(self) -> None:
        """Nothing to free."""


def _texts(arguments: dict[str, Any]) -> list[str]:
    return [arguments["prompt"][0], arguments["lyrics"][0]]
