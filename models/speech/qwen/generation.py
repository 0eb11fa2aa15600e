"""The codes of several lines, frame by frame.

Lines of any length and age are spoken together: each has the keys and values of its own steps, and
for some frames they are put side by side, the shorter ones padded in front. A line's codes come
from its own source of chance, so that they do not depend on its neighbours, but for what a device
rounds differently in a larger matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import DynamicCache

from models.speech.qwen.networks import Talker, last_states
from models.speech.qwen.prompt import Said, prompt
from models.speech.qwen.sampling import Chooser, penalised
from models.speech.qwen.settings import Settings

_LEAST = 2  # first codes before a line may end
_MARKS = 1024  # the last first codes, which are no sound: all but the end are never chosen
Layers = list[tuple[torch.Tensor, torch.Tensor]]  # keys and values, [1, heads, steps, width]


@dataclass
class Generated:
    """A line while its codes are made.

    Attributes:
        source: of its chance.
        layers: the keys and values of its steps.
        hidden: the talker's last state, [1, 1, width].
        used: its first codes, [1, codes] of bool.
        codes: its frames that were not taken yet, [frames, groups] each.
        count: of its frames.
        ended: whether the last frame is there.
    """

    source: torch.Generator
    layers: Layers
    hidden: torch.Tensor
    used: torch.Tensor
    codes: list[torch.Tensor] = field(default_factory=list)
    count: int = 0
    ended: bool = False

    def taken(self) -> list[torch.Tensor]:
        """Return the frames that were not taken yet; they then are."""
        codes, self.codes = self.codes, []
        return codes


class Generation:
    """Makes codes with a talker."""

    def __init__(self, talker: Talker, settings: Settings, role: list[int]) -> None:
        self._talker, self._settings, self._role = talker, settings, role
        self._first, self._others = Chooser(settings.first), Chooser(settings.others)
        self._device = talker.codec_head.weight.device
        self._pad = talker.texts([settings.config["tts_pad_token_id"]])
        never = torch.zeros(settings.talker["vocab_size"], dtype=torch.bool, device=self._device)
        never[-_MARKS:] = True
        never[settings.end] = False
        self._never = never

    def begin(self, said: Said, seed: int) -> Generated:
        """Read what a line is to say."""
        source = torch.Generator(self._device).manual_seed(seed)
        cache = DynamicCache(config=self._talker.model.config)
        embeds = prompt(self._talker, self._settings, said, self._role)
        hidden = last_states(self._talker.model, embeds, cache)[:, -1:]
        layers = [(keys, values) for keys, values, _ in cache]
        return Generated(source, layers, hidden, torch.zeros_like(self._never)[None])

    def go_on(self, lines: Sequence[Generated], frames: int) -> None:
        """Make the next frames of lines, at most ``frames`` of each; none of them is ended.

        If it fails, the lines are of no more use.
        """
        steps = [line.layers[0][0].shape[2] for line in lines]
        cache, mask = self._together(lines, steps)
        hidden = torch.cat([line.hidden for line in lines])
        used = torch.cat([line.used for line in lines])
        sources = [line.source for line in lines]
        positions = torch.tensor(steps, device=self._device)[:, None]
        ended = torch.zeros(len(lines), dtype=torch.bool, device=self._device)
        counts = torch.tensor([line.count for line in lines], device=self._device)
        made, ends = [], []
        for _ in range(frames):
            first = self._first(self._scores(hidden, used, counts), sources)
            used.scatter_(1, first[:, None], True)
            ended = ended | (first == self._settings.end)
            ends.append(ended)
            if ended.all():
                break
            codes, embeds = self._frame(hidden, first, sources)
            made.append(codes)
            if mask is not None:
                mask = torch.cat([mask, mask.new_ones(len(lines), 1, 1, 1)], 3)
            hidden = last_states(self._talker.model, embeds, cache, positions, mask)
            positions, counts = positions + 1, counts + 1
        self._apart(lines, cache, steps, hidden, used)
        for index, (line, its_ends) in enumerate(
            zip(lines, torch.stack(ends, 1).tolist(), strict=True)
        ):
            self._add(line, [codes[index] for codes in made], its_ends)

    def _frame(
        self, hidden: torch.Tensor, first: torch.Tensor, sources: Sequence[torch.Generator]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A frame's codes, [rows, groups], and what the talker reads of it, [rows, 1, width]."""
        embedded = self._talker.model.embed_tokens(first)[:, None]
        others, total = self._talker.code_predictor(
            hidden, embedded, lambda scores: self._others(scores, sources)
        )
        return torch.cat([first[:, None], others], 1), embedded + total + self._pad

    def _scores(
        self, hidden: torch.Tensor, used: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """The scores of first codes, [rows, codes]."""
        scores = self._talker.codec_head(hidden[:, -1]).float()
        scores = penalised(scores, used, self._settings.repetition_penalty)
        scores[counts < _LEAST, self._settings.end] = -torch.inf
        return scores.masked_fill(self._never, -torch.inf)

    def _together(
        self, lines: Sequence[Generated], steps: Sequence[int]
    ) -> tuple[DynamicCache, torch.Tensor | None]:
        """The lines' keys and values side by side, and which of them are steps; None = all."""
        most = max(steps)
        cache = DynamicCache(config=self._talker.model.config)
        for layer in range(len(lines[0].layers)):
            pairs = zip(*(line.layers[layer] for line in lines), strict=True)
            keys, values = (torch.cat([_padded(part, most) for part in kind]) for kind in pairs)
            cache.update(keys, values, layer)
        if min(steps) == most:
            return cache, None
        places = torch.arange(most, device=self._device)
        missing = torch.tensor([most - count for count in steps], device=self._device)
        return cache, places >= missing[:, None, None, None]

    def _apart(
        self, lines: Sequence[Generated], cache: DynamicCache, steps: Sequence[int],
        hidden: torch.Tensor, used: torch.Tensor,
    ) -> None:  # fmt: skip
        """Give each line its own again, copied: else each would keep the memory of all."""
        most = max(steps)
        for index, (line, own) in enumerate(zip(lines, steps, strict=True)):
            row, start = slice(index, index + 1), most - own
            line.layers = [
                (keys[row, :, start:].clone(), values[row, :, start:].clone())
                for keys, values, _ in cache
            ]
            line.hidden, line.used = hidden[row], used[row]

    def _add(self, line: Generated, codes: list[torch.Tensor], ends: list[bool]) -> None:
        """Add a line's new frames, up to its end."""
        line.ended = ends[-1]
        count = ends.index(True) if line.ended else len(codes)
        line.count += count
        if count:
            line.codes.append(torch.stack(codes[:count]))


def _padded(states: torch.Tensor, steps: int) -> torch.Tensor:
    """[1, heads, fewer steps, width] with zeros in front."""
    return torch.nn.functional.pad(states, (0, 0, steps - states.shape[2], 0))
