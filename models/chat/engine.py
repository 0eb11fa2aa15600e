"""What the engines of a language model share: the operator's options, and the checks."""

from __future__ import annotations

from models.chat import options
from models.chat.admission import Admission, Entrance
from models.chat.protocols import Text
from models.chat.request import Prompt
from models.engine import StepEngine
from models.operator import Operator
from models.row import Row


class LanguageModel(StepEngine):
    """A causal language model, which ``TransformersChat`` or ``VllmChat`` runs.

    Attributes:
        text: the chat template and the tokenizer.
        context: the longest conversation, answer included, in tokens.
    """

    prepare_in_thread = False
    text: Text
    context: int
    _entrance: Entrance

    @classmethod
    def configured(cls, row: Row, operator: Operator) -> Row:
        """Return the row with the engine that serves it, and its share of the memory."""
        return options.configured(row, operator)

    async def length(self, request: Prompt) -> int:
        """How many tokens a prompt has, pictures and all; raises as ``prepare`` does."""
        return (await self.prepare(request)).length

    async def prepare(self, request: Prompt) -> Admission:
        """Check a request, and limit the length of its answer to the remaining context.

        Raises:
            ContextLengthExceeded: the prompt is too long.
            InvalidValue: the grammar is not supported, or a value exceeds a limit of the engine.
            MediaUndecodable: a picture cannot be read.
        """
        return await self._entrance.check(request)
