"""Who waits for the device, and who goes next.

A request with little to do goes before one with much, but none is passed by more work than its own,
besides what fills a run: a request's turn is the work that was done when it came, plus its own.
Requests of one size go in the order in which they came, and a large one is never put off for ever.

A run begins with a ticket of the request whose turn it is. Where parts are packed, it takes those
of its kind whose turn is next; once it is nearly full, others that still fit, so that runs are of
about one size. Where they are padded, it takes those that are nearest to it in size, whosever they
are: little is padded.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from models.warm.ticket import Ticket

# A run that holds this part of its budget takes no more tickets that would make its padding more
# than this, relative to what is not padding: a run more costs less than what is padded.
_ENOUGH = 1 / 8
_PADDED = 1.1
_NEARLY_FULL = 7 / 8  # of the budget; such a run looks for others when the next does not fit
_MISSES = 8  # how many requests may find no room in it
_SLICES_BETWEEN = 4  # of others, at most about as many, between two slices of a long part
_LOOKED_AT = 4096  # neighbours, of whom some may not come along: choosing must stay quick

_Line = list[tuple[int, int, Ticket]]  # by size, then by arrival


class Scheduler:
    """The tickets that wait, by request and, for each kind, by size.

    Args:
        packs: whether a run is as large as its tickets together; else each is padded to the
            largest.
    """

    def __init__(self, packs: bool = False) -> None:
        self._packs = packs
        self._requests: list[tuple[int, int, deque[tuple[int, Ticket]]]] = []  # a heap, by turn
        self._lines: dict[Hashable, _Line] = {}
        self._count = count()
        self._done_size = 0

    def __iter__(self) -> Iterator[Ticket]:
        """The tickets that still wait, in no order."""
        for _, _, tickets in self._requests:
            yield from (one for _, one in tickets if not (one.taken or one.unwanted))

    def add(self, tickets: Sequence[Ticket]) -> None:
        """Queue the tickets of one request."""
        for ticket in tickets:
            ticket.number = next(self._count)
        total = tickets[0].submission.total if tickets else 0
        self._queue(tickets, self._done_size + total)

    def requeue(self, ticket: Ticket) -> None:
        """Queue a ticket once more, of which something is done; its place in line stays.

        One that is run in slices has a turn again soon: what is shorter than that goes first, and
        others go on beside it.
        """
        ticket.taken = False
        soon = self._done_size + _SLICES_BETWEEN if ticket.submission.sliced else 0
        self._queue([ticket], max(ticket.turn, soon))

    def _queue(self, tickets: Sequence[Ticket], turn: int) -> None:
        numbered = deque((ticket.number, ticket) for ticket in tickets)
        heappush(self._requests, (turn, next(self._count), numbered))
        for number, ticket in numbered:
            ticket.turn = turn
            if ticket.kind is not None and not self._packs:
                insort(self._lines.setdefault(ticket.kind, []), (ticket.size, number, ticket))

    def take(self, budget: float, max_jobs: int) -> list[Ticket]:
        """Remove the tickets of the next run, by size; empty when nobody waits.

        Args:
            budget: the run's largest size, padding included; a larger ticket goes alone.
            max_jobs: of how many requests the tickets may be.
        """
        while self._requests:
            _, _, tickets = self._requests[0]
            if not tickets:
                heappop(self._requests)
                continue
            number, first = tickets.popleft()
            if first.taken:
                continue
            batch = [first]
            if first.kind is not None and self._packs:
                batch = sorted(self._next(first, budget, max_jobs), key=lambda one: one.size)
            elif first.kind is not None:
                batch = self._with_neighbours(number, first, budget, max_jobs)
            for ticket in batch:
                ticket.taken = True
            if live := [ticket for ticket in batch if not ticket.unwanted]:
                self._done_size += sum(ticket.size for ticket in live)
                return live
        return []

    def _next(self, first: Ticket, budget: float, max_jobs: int) -> list[Ticket]:
        """The ticket whose turn it is, and those whose turn is next, in no order of size."""
        run, batch, passed, misses = _Run.of(first), [first], [], 0
        while self._requests and misses < _MISSES:
            passed.append(heappop(self._requests))
            tickets = passed[-1][2]
            while tickets and tickets[0][1].kind == first.kind:
                ticket = tickets[0][1]
                if not ticket.unwanted:
                    if not run.admits(ticket, max_jobs) or run.total + ticket.size > budget:
                        misses += 1 if run.total > _NEARLY_FULL * budget else _MISSES
                        break
                    run.add(ticket)
                    batch.append(ticket)
                tickets.popleft()
        for request in passed:
            if request[2]:
                heappush(self._requests, request)
        return batch

    def _with_neighbours(
        self, number: int, first: Ticket, budget: float, max_jobs: int
    ) -> list[Ticket]:
        line = self._lines[first.kind]
        at = bisect_left(line, (first.size, number))
        chosen = [at] if first.unwanted else sorted(_choose(line, at, budget, max_jobs))
        batch = [line[index][2] for index in chosen]
        for index in reversed(chosen):
            del line[index]
        if not line:
            del self._lines[first.kind]
        return batch


def _choose(line: _Line, at: int, budget: float, max_jobs: int) -> list[int]:
    """The places in line of those who go with the one at ``at``, and its own."""
    run = _Run.of(line[at][2])
    chosen, left, right = [at], at - 1, at + 1
    for _ in range(_LOOKED_AT):
        if left < 0 and right >= len(line):
            break
        # Whoever adds less padding: a shorter one its own, a longer one everybody else's.
        shorter = run.padding(line[left][0]) if left >= 0 else float("inf")
        longer = run.padding(line[right][0]) if right < len(line) else float("inf")
        index = left if shorter <= longer else right
        left, right = (left - 1, right) if index == left else (left, right + 1)
        ticket = line[index][2]
        if not run.holds(ticket.size, budget):
            break
        if ticket.unwanted or not run.admits(ticket, max_jobs):
            continue
        run.add(ticket)
        chosen.append(index)
    return chosen


@dataclass
class _Run:
    """What is chosen so far: how many, the largest, the sum of all, and whose they are."""

    tickets: int
    largest: int
    total: int
    submissions: set[int]

    @classmethod
    def of(cls, ticket: Ticket) -> _Run:
        return cls(1, ticket.size, ticket.size, {id(ticket.submission)})

    def padding(self, size: int) -> int:
        """How much padding one more ticket adds."""
        return self.largest - size if size <= self.largest else (size - self.largest) * self.tickets

    def admits(self, ticket: Ticket, max_jobs: int) -> bool:
        """Whether a ticket's request is here, or may be one more."""
        return id(ticket.submission) in self.submissions or len(self.submissions) < max_jobs

    def holds(self, size: int, budget: float) -> bool:
        """Whether one more ticket stays within the budget, and is worth its padding."""
        padded = (self.tickets + 1) * max(self.largest, size)
        enough = self.tickets * self.largest >= _ENOUGH * budget
        return padded <= budget and not (enough and padded > _PADDED * (self.total + size))

    def add(self, ticket: Ticket) -> None:
        """Take one more."""
        self.tickets += 1
        self.largest = max(self.largest, ticket.size)
        self.total += ticket.size
        self.submissions.add(id(ticket.submission))
