"""Earth mover's distance between a map and a density, exact on a coarse grid."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.metrics.case import Case, case
from sparsight.saliency.metrics.plane import Array, Indices

CELL = 32
_FIRST, _MORE = 6, 3  # arcs from each place to begin with, and to add at a time
_SMALL = 32  # cells of a grid that is solved without a guess


def score_emd(given: Case) -> float:
    """``emd`` of a case."""
    return _emd(given, CELL)


def _emd(given: Case, cell: int) -> float:
    height, width = given.plane.shape
    grid = (max(1, round(width / cell)), max(1, round(height / cell)))
    return optimal_cost(given.mass.averaged(grid), given.density_mass.averaged(grid))


def emd(map: ArrayLike, density: ArrayLike, *, preset: str = "mit", cell: int = CELL) -> float:
    """Earth mover's distance: the least mean distance that the map's mass must travel to become the density.

    Both are divided by their sums (as for ``sim``), averaged over cells of about ``cell`` pixels, and the
    optimal transport between the two grids with Euclidean distances is found exactly.

    Args:
        map: H×W saliency.
        density: H×W density of fixations, any scale.
        preset: as for ``sim``.
        cell: side of a cell in pixels; 32 as in ``EMD.m``, 1 for no averaging (small maps only).

    Returns:
        Cells; times ``cell`` it is pixels. 0 at best.

    Unlike ``EMD.m`` the map's histogram is not matched to the density's first (which would score how well the
    map can be redrawn, not the map), and cells are averages, not samples of a bicubic filter that can be
    negative.

    Raises:
        SparsightError: sizes that differ, NaN, a density that is zero everywhere, a cell below one pixel.

    Source: Rubner, Tomasi and Guibas, IJCV 2000; Pele and Werman, ICCV 2009.
    """
    if cell < 1:
        raise SparsightError(f"a cell of {cell} pixels cannot be averaged over: give 1 or more.")
    return _emd(case(map, density=density, preset=preset), cell)


def optimal_cost(first: Array, second: Array) -> float:
    """The cost of the optimal transport between two H×W distributions, distances in cells.

    Mass that both have in a cell stays (the distance is a metric). Of the rest a linear program is solved
    over few arcs, and arcs that its prices show to be worth using are added until there are none: the result
    is the optimum over all arcs. The first arcs are those that the prices on a coarser grid make cheap.
    """
    return _optimum(first, second)[0]


def _optimum(first: Array, second: Array) -> tuple[float, Array]:
    """The cost of the optimal transport, and a potential on the grid that it follows (H×W, in cells).

    The potential is the optimum of Kantorovich's dual problem: it falls nowhere by more than the distance,
    and along the arcs that carry mass by exactly that.
    """
    # SciPy's optimisers take a quarter of a second to import.
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    surplus = (first - second).ravel()
    sources, sinks = np.flatnonzero(surplus > 0), np.flatnonzero(surplus < 0)
    moved = float(surplus[sources].sum())
    if not len(sources) or not len(sinks) or moved < 1e-12:
        return 0.0, np.zeros(first.shape)
    supply = surplus[sources] / moved
    demand = surplus[sinks] / surplus[sinks].sum()
    rows, columns = np.divmod(np.arange(first.size), first.shape[1])
    far = np.hypot(rows[:, None] - rows[sinks][None, :], columns[:, None] - columns[sinks][None, :])
    cost = far[sources]
    count, others = cost.shape
    # The solver's tolerances are absolute: let a typical amount be about one.
    amounts = np.concatenate([supply, demand]) * (count + others)
    guess = _guess(first, second).ravel()
    dear = cost - guess[sources][:, None] + guess[sinks][None, :]
    chosen = np.zeros(cost.shape, dtype=bool)
    chosen[_staircase(supply, demand)] = True
    chosen |= _lowest(dear, _FIRST)
    while True:
        start, end = np.nonzero(chosen)
        arcs = np.arange(len(start))
        balance = csr_array(
            (np.ones(2 * len(arcs)), (np.concatenate([start, count + end]), np.concatenate([arcs, arcs]))),
            shape=(count + others, len(arcs)),
        )
        # Presolving takes as long as solving here. The stubs know dense matrices only.
        solved: Any = linprog(  # type: ignore[call-overload]
            cost[start, end], A_eq=balance, b_eq=amounts, method="highs-ds", options={"presolve": False}
        )
        if solved.status != 0:
            raise SparsightError(f"the earth mover's distance could not be computed: {solved.message}")
        prices = solved.eqlin.marginals
        reduced = cost - prices[:count, None] - prices[None, count:]
        reduced[chosen] = 0.0
        worth = _lowest(reduced, _MORE) & (reduced < -1e-9)
        if not worth.any():
            return float(solved.fun / (count + others) * moved), (far - prices[count:]).min(axis=1).reshape(
                first.shape
            )
        chosen |= worth


def _guess(first: Array, second: Array) -> Array:
    """The potential of the optimum on a grid half as fine, drawn on this one; zero on a small grid."""
    height, width = first.shape
    if first.size <= _SMALL:
        return np.zeros(first.shape)
    coarse = ((width + 1) // 2, (height + 1) // 2)
    less, other = (cv2.resize(mass, coarse, interpolation=cv2.INTER_AREA) for mass in (first, second))
    potential = _optimum(less / less.sum(), other / other.sum())[1]
    return np.asarray(2 * cv2.resize(potential, (width, height), interpolation=cv2.INTER_LINEAR), np.float64)


def _lowest(values: Array, count: int) -> NDArray[np.bool_]:
    """Where the lowest so many of each row, and of each column, are."""
    lowest = np.zeros(values.shape, dtype=bool)
    for axis, size in ((1, values.shape[1]), (0, values.shape[0])):
        if count >= size:
            return np.ones(values.shape, dtype=bool)
        order = np.argpartition(values, count, axis=axis)
        np.put_along_axis(lowest, order[:, :count] if axis else order[:count], True, axis=axis)
    return lowest


def _staircase(supply: Array, demand: Array) -> tuple[Indices, Indices]:
    """Arcs over which a transport exists for sure (the north-west corner rule)."""
    ends = np.concatenate([np.cumsum(supply), np.cumsum(demand)])
    steps = np.sort(ends)
    before = np.concatenate([[0.0], steps[:-1]])
    middle = (steps + before) / 2
    start = np.minimum(np.searchsorted(np.cumsum(supply), middle), len(supply) - 1)
    end = np.minimum(np.searchsorted(np.cumsum(demand), middle), len(demand) - 1)
    return start, end
