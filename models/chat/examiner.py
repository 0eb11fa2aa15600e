"""Examines grammars in a child process, for ``models.chat.vetting``.

It reads one task per line, ``{"kind", "source", "param", "schemas", "cpu_s"}``, and writes
``{"refusal": [param, reason] or null, "source"}``: the grammar with its JSON Schemas in a form
that llguidance supports.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
import threading
import time
from dataclasses import replace

from models.chat import schemas
from models.chat.request import TOO_COMPLEX, Embedded, Grammar, Refusal

_MEMORY_BYTES = 512 << 20  # address space; Python itself takes a quarter
_STACK_BYTES = 4 << 20  # half of the stack of the worker's threads
_MAX_LOOKS = 300  # how many definitions are tried to find the invalid one
_LOOK_S = 0.3  # processor time for these tries
_RULE = re.compile(r"(\w+): %json (.*)")


class _Wrong(Exception):
    """A grammar is not supported: ``args`` are a ``Refusal``."""


class Examiner:
    """Finds errors in grammars, and rewrites their schemas in a form that llguidance supports."""

    def __init__(self) -> None:
        from llguidance import LLMatcher, LLTokenizer

        self._matcher = LLMatcher
        # Bytes as tokens: compiling takes as long as with a model's vocabulary.
        self._tokenizer = LLTokenizer("byte")

    def examine(self, grammar: Grammar) -> Refusal | Grammar:
        """Return a grammar that can be compiled, or why it is refused."""
        try:
            made = self._written(grammar)
            # A grammar that is only a schema has been checked by ``_written``.
            if made.kind != "json_schema" and (reason := self._objection(made)) is not None:
                return grammar.param, _one_line(reason)
        except _Wrong as wrong:
            param, reason = wrong.args
            return param, reason
        return made if self._follows(made) else (grammar.param, TOO_COMPLEX)

    def _written(self, grammar: Grammar) -> Grammar:
        """Return a grammar with its schemas rewritten; raises ``_Wrong``."""
        if grammar.kind == "json_schema":
            return replace(
                grammar, source=self._rewritten(grammar.source, grammar.param, closed=False)
            )
        if grammar.kind != "lark":
            return grammar
        known = {schema.rule: schema for schema in grammar.schemas}
        lines = []
        for line in grammar.source.split("\n"):
            if rule := _RULE.fullmatch(line):
                own = known.get(rule[1], Embedded(rule[1], grammar.param))
                line = f"{rule[1]}: %json {self._rewritten(rule[2], own.param, closed=own.closed)}"
            lines.append(line)
        return replace(grammar, source="\n".join(lines))

    def _rewritten(self, source: str, param: str, *, closed: bool) -> str:
        """Return a client's schema in a form that llguidance supports; raises ``_Wrong``."""
        schema = json.loads(source)
        if (excess := schemas.excess(schema)) is not None:  # too much memory or time
            raise _Wrong(param, excess)
        try:
            made = schemas.held(schema, closed=closed)
        except schemas.Refused as refused:
            raise _Wrong(param, str(refused)) from None
        except RecursionError:
            raise _Wrong(param, TOO_COMPLEX) from None
        for regex, where in made.patterns.items():
            if reason := self._objection(Grammar("json_schema", json.dumps(_text(regex)))):
                raise _Wrong(param, f"{where}: {_one_line(reason)}")
        text = json.dumps(made.schema)
        if reason := self._objection(Grammar("json_schema", text)):
            raise _Wrong(param, f"{self._place(made, reason)}: {_one_line(reason)}")
        return text

    def _objection(self, grammar: Grammar) -> str | None:
        """Return llguidance's error for a grammar, None if there is none."""
        try:
            text = grammar.compiled()
            wrong, messages = self._matcher.validate_grammar_with_warnings(text, self._tokenizer)
        except ValueError as error:
            return str(error)
        return str(messages[0]) if wrong else None

    def _place(self, made: schemas.Held, reason: str) -> str:
        """Return where in the client's schema llguidance's error is.

        The search is limited in tries and time; after that, the whole schema is returned.
        """
        end = time.process_time() + _LOOK_S
        definitions = made.schema["$defs"]
        for looks, name in enumerate(reversed(definitions)):
            if looks == _MAX_LOOKS or time.process_time() > end:
                break
            part = {**definitions[name], "$defs": definitions}
            if self._objection(Grammar("json_schema", json.dumps(part))) == reason:
                return made.sources[name]
        return "#"

    def _follows(self, grammar: Grammar) -> bool:
        """Whether the mask of an answer's first token can be computed, too."""
        matcher = self._matcher(self._tokenizer, grammar.compiled())
        if not matcher.is_error():
            matcher.compute_bitmask()
        return not matcher.is_error()


def _text(regex: str) -> dict[str, str]:
    return {"type": "string", "pattern": regex}


def _one_line(message: str) -> str:
    """Return a parser's reason in one line: the message shows the place first, then the reason."""
    return message.strip().rpartition("error: ")[2].splitlines()[0].rstrip(":. ")


def _serve() -> None:
    """Answer tasks until the worker closes the pipe; a task over its limit ends the process."""
    examiner = Examiner()
    for line in sys.stdin.buffer:
        task = json.loads(line)
        embedded = tuple(Embedded(**schema) for schema in task["schemas"])
        grammar = Grammar(task["kind"], task["source"], task["param"], embedded)
        signal.setitimer(signal.ITIMER_PROF, task["cpu_s"])  # SIGPROF ends a process
        result = examiner.examine(grammar)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answer = (
            {"refusal": None, "source": result.source}
            if isinstance(result, Grammar)
            else {"refusal": result, "source": ""}
        )
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.stack_size(_STACK_BYTES)
    thread = threading.Thread(target=_serve)
    thread.start()
    thread.join()


if __name__ == "__main__":
    _main()
