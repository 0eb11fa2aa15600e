"""Vets grammars in a process of its own, before the worker compiles them.

llguidance compiles most schemas in milliseconds. But some make it compute for minutes, in a thread
that nothing can stop, and some overflow its stack, which ends the process. So another process
compiles each new grammar first, within a limit of processor time, memory and stack. What it
survives, the worker compiles for itself.

The process is started with the first grammar and serves one at a time. It reads a task a line,
``{"kind", "source", "param", "schemas"}``, and writes ``{"refusal": [param, reason] or null}``.
"""

from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict
from hashlib import sha256
from typing import Any

from models import child
from models.chat import schemas
from models.chat.request import Grammar

Refusal = tuple[str, str]  # the client's field, and why its grammar cannot be honoured

_CPU_S = 1.0  # of one grammar; the worker then takes about as long
_WALL_S = 30.0  # the machine may be busy with other things
_MEMORY_BYTES = 512 << 20  # address space, of which Python takes a quarter
_STACK_BYTES = 4 << 20  # half of what the worker's threads have
_REMEMBERED = 256  # grammars
TOO_COMPLEX = "it is too complex to be kept; simplify it"


class Vetting:
    """Vets grammars; its methods block, and one thread at a time may call them.

    Args:
        cpu_s: processor time for one grammar, in seconds.
    """

    def __init__(self, cpu_s: float = _CPU_S) -> None:
        self._cpu_s = cpu_s
        self._process: subprocess.Popen[bytes] | None = None
        self._known: OrderedDict[bytes, Refusal | None] = OrderedDict()

    def refusal(self, grammar: Grammar) -> Refusal | None:
        """Return why a grammar cannot be honoured, None where it can."""
        task = json.dumps(
            {
                "kind": grammar.kind,
                "source": grammar.source,
                "param": grammar.param,
                "schemas": grammar.schemas,
                "cpu_s": self._cpu_s,
            }
        ).encode()
        key = sha256(task).digest()
        if key not in self._known:
            try:
                answer = self._ask(task)
            except TimeoutError:  # the machine may be to blame: this is not remembered
                return grammar.param, TOO_COMPLEX
            refusal = tuple(answer["refusal"] or ()) if answer else (grammar.param, TOO_COMPLEX)
            self._known[key] = refusal or None
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return self._known[key]

    def close(self) -> None:
        """End the process; the next grammar starts another."""
        if self._process is not None:
            self._process = None
            self._ending()

    def _ask(self, task: bytes) -> Any:
        """Return the process's answer; None where the task was too much for it.

        Raises:
            TimeoutError: it did not answer in time.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                child.command(__name__),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
            self._ending = weakref.finalize(self, _end, self._process)
        line = None
        try:
            line = self._exchange(self._process, task + b"\n")
        finally:
            if line is None:
                self.close()
        return None if line is None else json.loads(line)

    @staticmethod
    def _exchange(process: subprocess.Popen[bytes], line: bytes) -> bytes | None:
        """Write a line and read one; None where the process ends, ``TimeoutError`` as above."""
        if process.stdin is None or process.stdout is None:
            raise TypeError("it has no pipes")
        end = time.monotonic() + _WALL_S
        answer = b""
        try:
            while line:  # a raw pipe takes what fits
                line = line[process.stdin.write(line) or 0 :]
        except BrokenPipeError:
            return None
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                return None
            answer += piece
        return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    with process:  # closes its pipes and waits for it
        process.kill()


# In the other process ----------------------------------------------------------------------------

_KEYWORDS = re.compile(r"^Unimplemented keys: (\[.*\])", re.DOTALL)
_MOST_LOOKS = 300  # at parts of a schema, for the one that is wrong
_LOOK_S = 0.3  # processor time for all looks


class _Vet:
    """Finds what is wrong with grammars."""

    def __init__(self) -> None:
        from llguidance import LLMatcher, LLTokenizer

        self._matcher = LLMatcher
        # Bytes for tokens: compiling takes as long as with a model's vocabulary.
        self._tokenizer = LLTokenizer("byte")

    def refusal(self, grammar: Grammar) -> Refusal | None:
        """Return the first thing that is wrong with a grammar, None where nothing is."""
        for param, source in grammar.schemas:
            if (reason := self._of_schema(source)) is not None:
                return param, reason
        if grammar.kind == "json_schema":
            reason = self._of_schema(grammar.source)
        else:
            wrong = self._wrong(grammar)
            reason = None if wrong is None else _plain(wrong)
        if reason is None and not self._follows(grammar):
            reason = TOO_COMPLEX
        return None if reason is None else (grammar.param, reason)

    def _wrong(self, grammar: Grammar) -> str | None:
        """Return what llguidance has against a grammar."""
        try:
            text = grammar.compiled()
            wrong, messages = self._matcher.validate_grammar_with_warnings(text, self._tokenizer)
        except ValueError as error:
            return str(error)
        return str(messages[0]) if wrong else None

    def _follows(self, grammar: Grammar) -> bool:
        """Whether the first token of an answer can be chosen, too."""
        matcher = self._matcher(self._tokenizer, grammar.compiled())
        if not matcher.is_error():
            matcher.compute_bitmask()
        return not matcher.is_error()

    def _of_schema(self, source: str) -> str | None:
        schema = json.loads(source)
        excess = schemas.excess(schema)  # llguidance would take all memory for it, or minutes
        if excess is not None:
            return excess
        wrong = self._wrong(Grammar("json_schema", source))
        if wrong is None:
            return None
        path, part = self._innermost(schema, wrong)
        named = _KEYWORDS.match(wrong)
        keys = [key for key in json.loads(named[1]) if key in part] if named else []
        if keys:
            where = ", ".join(schemas.pointer((*path, key)) for key in keys)
            return f"{where} is a keyword that no answer can be held to"
        if "oneOf" in part:
            where = schemas.pointer((*path, "oneOf"))
            return f"{where} is a keyword that no answer can be held to; use anyOf"
        return f"{schemas.pointer(path)}: {_plain(wrong)}"

    def _innermost(self, schema: Any, wrong: str) -> tuple[schemas.Path, dict[str, Any]]:
        """Return the innermost part of a schema that is refused for the same reason.

        The search ends after some looks, or some time, with the whole schema.
        """
        end = time.process_time() + _LOOK_S
        for looks, (path, part) in enumerate(schemas.parts(schema)):
            if looks == _MOST_LOOKS or time.process_time() > end:
                break
            if self._wrong(Grammar("json_schema", schemas.by_itself(schema, part))) == wrong:
                return path, part
        return (), schema if isinstance(schema, dict) else {}


def _plain(message: str) -> str:
    """Return a parser's reason in one line: it draws where, and says why at the end."""
    return message.strip().rpartition("error: ")[2].splitlines()[0].rstrip(":. ")


def _serve() -> None:
    """Answer tasks until the worker closes the pipe; one that takes too long ends the process."""
    vet = _Vet()
    for line in sys.stdin.buffer:
        task = json.loads(line)
        grammar = Grammar(
            task["kind"], task["source"], task["param"], tuple(map(tuple, task["schemas"]))
        )
        signal.setitimer(signal.ITIMER_PROF, task["cpu_s"])  # SIGPROF ends a process
        refusal = vet.refusal(grammar)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps({"refusal": refusal}), flush=True)  # noqa: T201 - the answer


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.stack_size(_STACK_BYTES)
    thread = threading.Thread(target=_serve)
    thread.start()
    thread.join()


if __name__ == "__main__":
    _main()
