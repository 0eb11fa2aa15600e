"""Check grammars in a child process before the worker compiles them.

llguidance compiles most schemas in milliseconds. But some take minutes, in a thread that cannot be
stopped, and some overflow the stack, which ends the process. So a child process compiles each new
grammar first, with limits for processor time, memory and stack. The worker compiles only grammars
that the child process could compile.

The same process rewrites the client's JSON Schemas in a form that llguidance supports. It starts
with the first grammar and handles one at a time; it runs ``models.chat.examiner``.
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

_CPU_S = 1.0  # for one grammar; the worker then takes about as long
_WALL_S = 30.0  # the machine may be busy with other work
_REMEMBERED = 256  # how many results are cached
_REMEMBERED_BYTES = 16 << 20  # the size of their text


class Vetting:
    """Checks grammars. Its methods block, and only one thread may call them at a time.

    Args:
        cpu_s: the processor time for one grammar, in seconds.
    """

    def __init__(self, cpu_s: float = _CPU_S) -> None:
        self._cpu_s = cpu_s
        self._process: subprocess.Popen[bytes] | None = None
        self._known: OrderedDict[bytes, Refusal | Grammar] = OrderedDict()

    def vetted(self, grammar: Grammar) -> Refusal | Grammar:
        """Return a grammar in a form that can be compiled, or why it is refused."""
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
            except TimeoutError:  # the machine may be overloaded, so the result is not cached
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
        """Drop the results that were not used for the longest time."""
        results = self._known.values()
        sizes = [len(result.source) for result in results if isinstance(result, Grammar)]
        excess = sum(sizes) - _REMEMBERED_BYTES
        while self._known and (excess > 0 or len(self._known) > _REMEMBERED):
            _, oldest = self._known.popitem(last=False)
            excess -= len(oldest.source) if isinstance(oldest, Grammar) else 0

    def close(self) -> None:
        """End the process; the next grammar starts a new one."""
        if self._process is not None:
            self._process = None
            self._ending()

    def _ask(self, task: bytes) -> Any:
        """Return the process's answer; None if the task crashed it.

        Raises:
            TimeoutError: the process did not answer in time.
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
        """Write a line and read one; None if the process ends. May raise ``TimeoutError``."""
        if process.stdin is None or process.stdout is None:
            raise TypeError("it has no pipes")
        end = time.monotonic() + _WALL_S
        answer = b""
        try:
            while line:  # a raw pipe may take a part of the data only
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
