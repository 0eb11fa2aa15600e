"""The queue of tickets, and the choice of those for the next run.

Small requests go before large ones, but a large one is not delayed indefinitely. A request's turn
is the work done before it arrived, plus its own; the lowest turn goes first. So the later
requests that pass a request are no more work than its own, except for those that fill up a run.
Requests of the same size run in order of arrival.

A run begins with a ticket of the request whose turn is lowest. If the engine packs parts, the run
takes tickets of the same kind in order of their turns. Once it is nearly full, it also takes later
tickets that still fit, so that runs have about the same size. If the engine pads parts, the run
takes the tickets that are closest in size, of any request, to keep the padding small.

The express lane asks for short requests only. Their work counts, so that a long request's turn
comes just as soon.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from models.warm.ticket import Ticket

# Once a run holds this share of its budget, it takes no ticket that would raise the ratio of the
# padded size to the real size above ``_PADDED``: then another run costs less than the padding.
_ENOUGH = 1 / 8
_PADDED = 1.1
_NEARLY_FULL = 7 / 8  # share of the budget; above it, later requests are tried if one does not fit
_MISSES = 8  # how many requests may fail to fit before a run is closed
_SLICES_BETWEEN = 4  # work of other requests between two slices of a long part, about, at most
_LOOKED_AT = 4096  # neighbours that are considered for a run: the choice must be quick

_Line = list[tuple[int, int, Ticket]]  # by size, then by arrival


class Scheduler:
    """The queued tickets, by request and, for each kind, by size.

    Args:
        packs: whether a run's size is the sum of its tickets' sizes. If not, each ticket is padded
            to the largest.
    """

    def __init__(self, packs: bool = False) -> None:
        self._packs = packs
        self._requests: list[tuple[float, int, deque[tuple[int, Ticket]]]] = []  # a heap, by turn
        self._lines: dict[Hashable, _Line] = {}
        self._count = count()
        self._done = 0.0

    def __iter__(self) -> Iterator[Ticket]:
        """Iterate over the queued tickets that are still wanted, in no particular order."""
        for _, _, tickets in self._requests:
            yield from (ticket for _, ticket in tickets if not (ticket.taken or ticket.unwanted))

    def add(self, tickets: Sequence[Ticket]) -> None:
        """Queue the tickets of one request."""
        for ticket in tickets:
            ticket.number = next(self._count)
        total = tickets[0].submission.total if tickets else 0
        self._queue(tickets, self._done + total)

    def requeue(self, ticket: Ticket) -> None:
        """Queue a partly processed ticket again; it keeps its turn.

        If its request runs in slices, its turn is soon, but not at once: shorter requests go first,
        and others run between two slices.
        """
        ticket.taken = False
        soon = self._done + _SLICES_BETWEEN if ticket.submission.sliced else 0
        self._queue([ticket], max(ticket.turn, soon))

    def _queue(self, tickets: Sequence[Ticket], turn: float) -> None:
        numbered = deque((ticket.number, ticket) for ticket in tickets)
        heappush(self._requests, (turn, next(self._count), numbered))
        for number, ticket in numbered:
            ticket.turn = turn
            if ticket.kind is not None and not self._packs:
                insort(self._lines.setdefault(ticket.kind, []), (ticket.size, number, ticket))

    def take(self, budget: float, max_jobs: int, longest: float = math.inf) -> list[Ticket]:
        """Remove the tickets of the next run and return them by size; empty if none is queued.

        Args:
            budget: the run's largest size, padding included; a larger ticket runs alone.
            max_jobs: how many requests the tickets may belong to.
            longest: the most work of a request whose tickets are taken.
        """
        limits = _Limits(budget, max_jobs, longest)
        while (tickets := self._lowest(longest)) is not None:
            number, first = tickets.popleft()
            if first.taken:
                continue
            batch = [first]
            if first.kind is not None and self._packs:
                batch = sorted(self._next(first, limits), key=lambda ticket: ticket.size)
            elif first.kind is not None:
                batch = self._with_neighbours(number, first, limits)
            for ticket in batch:
                ticket.taken = True
            if live := [ticket for ticket in batch if not ticket.unwanted]:
                self._done += sum(ticket.effort for ticket in live)
                return live
        return []

    def _lowest(self, longest: float) -> deque[tuple[int, Ticket]] | None:
        """Return the tickets of the request with the lowest turn, of those short enough."""
        while self._requests and not self._requests[0][2]:
            heappop(self._requests)
        if math.isinf(longest):
            return self._requests[0][2] if self._requests else None
        short = [
            request
            for request in self._requests
            if request[2] and request[2][0][1].submission.total <= longest
        ]
        return min(short)[2] if short else None

    def _next(self, first: Ticket, limits: _Limits) -> list[Ticket]:
        """Return ``first`` and the tickets that run with it, in order of their turns."""
        run, batch, passed, misses = _Run.of(first), [first], [], 0
        budget = limits.budget
        while self._requests and misses < _MISSES:
            passed.append(heappop(self._requests))
            tickets = passed[-1][2]
            while tickets and tickets[0][1].kind == first.kind and limits.admit(tickets[0][1]):
                ticket = tickets[0][1]
                if not ticket.unwanted:
                    if not run.joins(ticket, limits) or run.total + ticket.size > budget:
                        misses += 1 if run.total > _NEARLY_FULL * budget else _MISSES
                        break
                    run.add(ticket)
                    batch.append(ticket)
                tickets.popleft()
        for request in passed:
            if request[2]:
                heappush(self._requests, request)
        return batch

    def _with_neighbours(self, number: int, first: Ticket, limits: _Limits) -> list[Ticket]:
        line = self._lines[first.kind]
        at = bisect_left(line, (first.size, number))
        chosen = [at] if first.unwanted else sorted(_choose(line, at, limits))
        batch = [line[index][2] for index in chosen]
        for index in reversed(chosen):
            del line[index]
        if not line:
            del self._lines[first.kind]
        return batch


@dataclass(frozen=True)
class _Limits:
    """The limits of a run; see ``Scheduler.take``."""

    budget: float
    max_jobs: int
    longest: float

    def admit(self, ticket: Ticket) -> bool:
        """Whether the ticket's request is short enough."""
        return ticket.submission.total <= self.longest


def _choose(line: _Line, at: int, limits: _Limits) -> list[int]:
    """Return the places in line of the ticket at ``at`` and of those that run with it."""
    run = _Run.of(line[at][2])
    chosen, left, right = [at], at - 1, at + 1
    for _ in range(_LOOKED_AT):
        if left < 0 and right >= len(line):
            break
        # Take the neighbour that adds less padding: a shorter one is padded to the largest, a
        # longer one pads all the others.
        shorter = run.padding(line[left][0]) if left >= 0 else float("inf")
        longer = run.padding(line[right][0]) if right < len(line) else float("inf")
        index = left if shorter <= longer else right
        left, right = (left - 1, right) if index == left else (left, right + 1)
        ticket = line[index][2]
        if not run.holds(ticket.size, limits.budget):
            break
        if ticket.unwanted or not run.joins(ticket, limits):
            continue
        run.add(ticket)
        chosen.append(index)
    return chosen


@dataclass
class _Run:
    """The tickets chosen so far: number, largest size, total size, and their requests' ids."""

    tickets: int
    largest: int
    total: int
    submissions: set[int]

    @classmethod
    def of(cls, ticket: Ticket) -> _Run:
        return cls(1, ticket.size, ticket.size, {id(ticket.submission)})

    def padding(self, size: int) -> int:
        """How much padding another ticket of this size adds."""
        return self.largest - size if size <= self.largest else (size - self.largest) * self.tickets

    def joins(self, ticket: Ticket, limits: _Limits) -> bool:
        """Whether the ticket's request is in the run already, or may join it."""
        known = id(ticket.submission) in self.submissions
        return known or (len(self.submissions) < limits.max_jobs and limits.admit(ticket))

    def holds(self, size: int, budget: float) -> bool:
        """Whether another ticket stays within the budget, and is worth its padding."""
        padded = (self.tickets + 1) * max(self.largest, size)
        enough = self.tickets * self.largest >= _ENOUGH * budget
        return padded <= budget and not (enough and padded > _PADDED * (self.total + size))

    def add(self, ticket: Ticket) -> None:
        """Add a ticket."""
        self.tickets += 1
        self.largest = max(self.largest, ticket.size)
        self.total += ticket.size
        self.submissions.add(id(ticket.submission))
