"""Connected regions of a mask, from the runs of its rows."""

from __future__ import annotations

from typing import Any


def components(mask: Any) -> list[Any]:
    """Return the runs of each region of true values, regions that touch at a corner being one.

    Args:
        mask: booleans, shape (height, width).

    Returns:
        An array for each region, of rows (y, first x, x behind the last).
    """
    import numpy as np

    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    ys, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    runs = np.stack([ys, starts, ends], axis=1)
    parents = list(range(len(runs)))
    places: Any = np.searchsorted(ys, np.arange(mask.shape[0] + 1))
    rows: list[int] = places.tolist()
    table: list[list[int]] = runs.tolist()
    for y in range(1, mask.shape[0]):
        _join(table, parents, (rows[y - 1], rows[y]), (rows[y], rows[y + 1]))
    regions: dict[int, list[int]] = {}
    for at in range(len(table)):
        regions.setdefault(_root(parents, at), []).append(at)
    return [runs[members] for members in regions.values()]


def _join(
    runs: list[list[int]], parents: list[int], above: tuple[int, int], here: tuple[int, int]
) -> None:
    """Join the runs of two neighbouring rows that touch; each row's are in order."""
    first, second = above[0], here[0]
    while first < above[1] and second < here[1]:
        _, left, right = runs[first]
        _, start, end = runs[second]
        if left <= end and start <= right:
            parents[_root(parents, first)] = _root(parents, second)
        if right < end:
            first += 1
        else:
            second += 1


def _root(parents: list[int], at: int) -> int:
    while parents[at] != at:
        parents[at] = parents[parents[at]]
        at = parents[at]
    return at
