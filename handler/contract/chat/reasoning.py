"""What a client asks of a model's reasoning, and the switches that chat templates have for it.

Clients name an effort (OpenAI's ``reasoning_effort`` and ``reasoning``), switch it (``thinking`` of
Anthropic, GLM and DeepSeek) or limit it. A template knows some of these as variables; what it does
not know is left out, with a warning.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from handler.contract.request import Integer, Part, Text
from models.leniency import Leniency

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
_SWITCHES = ("enable_thinking", "thinking")  # of Qwen, GLM and others; of DeepSeek and Granite
_EFFORT = "reasoning_effort"
_NO_BUDGET = "reasoning has no budget of its own here; max_tokens counts it with the answer"


class Reasoning(Part):
    """OpenAI's options of Responses, and OpenRouter's."""

    effort: Effort | None = None
    enabled: bool | None = None
    max_tokens: Annotated[Integer, Field(ge=0)] | None = None
    summary: Text | None = None
    generate_summary: Text | None = None


class Thinking(Part):
    """Whether the model reasons: Anthropic's ``thinking``.

    ``display`` says whether the answer shows the reasoning.
    """

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[Integer, Field(ge=0)] | None = None
    display: Text | None = None


class Wish:
    """What one request asks of the reasoning.

    Args:
        effort: its ``reasoning_effort``.
        reasoning: its ``reasoning``.
        thinking: its ``thinking``.
    """

    def __init__(
        self, effort: Effort | None, reasoning: Reasoning | None, thinking: Thinking | None
    ) -> None:
        self._param = "reasoning_effort"
        self._effort = effort
        self._reasoning = reasoning or Reasoning()
        self._thinking = thinking
        if effort is None and self._reasoning.effort is not None:
            self._param, self._effort = "reasoning.effort", self._reasoning.effort

    def arguments(
        self, slug: str, known: Collection[str], thinks: bool, leniency: Leniency
    ) -> Mapping[str, Any]:
        """Return the variables of a chat template that express the wish.

        Args:
            slug: of the model.
            known: the variables that its template reads.
            thinks: whether the model reasons at all.
            leniency: is told what the template cannot express.

        Raises:
            UnsupportedParameter: there is such a thing, and the request is strict.
        """
        self._note_budgets(leniency)
        param, switch = self._switch()
        if switch is None:
            return {}
        made: dict[str, Any] = {name: switch for name in _SWITCHES if name in known}
        levels = _EFFORT in known
        if levels and self._effort is not None and (switch or not made):
            made[_EFFORT] = self._effort
        if not made and (switch or thinks):
            leniency.leave_out(param, f"{param}: {slug} has no switch for its reasoning")
        elif switch and self._effort is not None and not levels:
            effort = self._param
            leniency.leave_out(effort, f"{effort}: {slug} knows no levels of reasoning")
        return made

    def _switch(self) -> tuple[str, bool | None]:
        """Return the field that says whether to reason, and what it says."""
        if self._thinking is not None:
            return "thinking", self._thinking.type != "disabled"
        if self._effort is not None:
            return self._param, self._effort != "none"
        return "reasoning.enabled", self._reasoning.enabled

    def _note_budgets(self, leniency: Leniency) -> None:
        if self._thinking is not None and self._thinking.budget_tokens is not None:
            leniency.leave_out("thinking.budget_tokens", f"thinking.budget_tokens: {_NO_BUDGET}")
        if self._reasoning.max_tokens is not None:
            leniency.leave_out("reasoning.max_tokens", f"reasoning.max_tokens: {_NO_BUDGET}")
        for name in ("summary", "generate_summary"):
            if getattr(self._reasoning, name) is not None:
                param = f"reasoning.{name}"
                leniency.leave_out(param, f"{param}: reasoning is answered whole, not summarised")
