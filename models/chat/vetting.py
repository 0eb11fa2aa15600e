"""Vets grammars in a process of its own, before the worker compiles them.

llguidance compiles most schemas in milliseconds. But some make it compute for minutes, in a thread
that nothing can stop, and some overflow its stack, which ends the process. So another process
compiles each new grammar first, within a limit of processor time, memory and stack. What it
survives, the worker compiles for itself.

The same process rewrites the client's JSON Schemas in the form that llguidance can hold. It starts
with the first grammar and serves one at a time; ``models.chat.examiner`` is what runs in it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
import weakref
from collections import OrderedDict
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

from models import child
from models.chat.request import TOO_COMPLEX, Grammar, Refusal

_CPU_S = 1.0  # of one grammar; the worker then takes about as long
_WALL_S = 30.0  # the machine may be busy with other things
_REMEMBERED = 256  # grammars
_REMEMBERED_BYTES = 16 << 20  # of their text


class Vetting:
    """Vets grammars; its methods block, and one thread at a time may call them.

    Args:
        cpu_s: processor time for one grammar, in seconds.
    """

    def __init__(self, cpu_s: float = _CPU_S) -> None:
        self._cpu_s = cpu_s
        self._process: subprocess.Popen[bytes] | None = None
        self._known: OrderedDict[bytes, Refusal | Grammar] = OrderedDict()

    def vetted(self, grammar: Grammar) -> Refusal | Grammar:
        """Return a grammar as it can be compiled, or why it cannot be honoured."""
        task = json.dumps(
            {
                "kind": grammar.kind,
                "source": grammar.source,
                "param": grammar.param,
                "schemas": [asdict(schema) for schema in grammar.schemas],
                "cpu_s": self._cpu_s,
            }
        ).encode()
        key = sha256(task).digest()
        if key not in self._known:
            try:
                answer = self._ask(task)
            except TimeoutError:  # the machine may be to blame: this is not remembered
                return grammar.param, TOO_COMPLEX
            if answer is None:
                self._known[key] = grammar.param, TOO_COMPLEX
            elif answer["refusal"] is not None:
                self._known[key] = tuple(answer["refusal"])
            else:
                self._known[key] = replace(grammar, source=answer["source"])
        result = self._known[key]
        self._known.move_to_end(key)
        self._forget()
        return result

    def _forget(self) -> None:
        """Forget the grammars that nobody has asked for the longest."""
        sizes = [len(one.source) for one in self._known.values() if isinstance(one, Grammar)]
        excess = sum(sizes) - _REMEMBERED_BYTES
        while self._known and (excess > 0 or len(self._known) > _REMEMBERED):
            _, oldest = self._known.popitem(last=False)
            excess -= len(oldest.source) if isinstance(oldest, Grammar) else 0

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
                child.command("models.chat.examiner"),
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
