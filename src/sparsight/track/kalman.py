"""One Kalman filter for all tracks at once: constant velocity, measured boxes.

A box is described by four numbers (a *parametrisation*), each of which moves on its own: with noise that is
independent between them, the transition, the noise and the measurement never mix two of them. The
textbook filter with its 8×8 covariance then falls apart, exactly, into four filters of a value and its
velocity, and the covariance of each is the symmetric 2×2 matrix [[p, c], [c, v]]. The state of N tracks is
therefore one array of shape (5, N, 4), float64:

====== ======================================
plane  meaning
====== ======================================
0      value
1      velocity, per frame
2      p, variance of the value
3      c, covariance of value and velocity
4      v, variance of the velocity
====== ======================================

Noise is given as in the papers, as standard deviations, in units of a scale taken from the box (its height,
say): SORT (Bewley et al., ICIP 2016), DeepSORT (Wojke et al., ICIP 2017), BoT-SORT (arXiv 2206.14651).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Four: TypeAlias = tuple[float, float, float, float]
State: TypeAlias = NDArray[np.float64]
"""(5, N, 4): value, velocity, and the three entries of their covariance, for each of four coordinates."""


_TO_XYWH = np.array([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]])
_FROM_XYWH = np.linalg.inv(_TO_XYWH)
_LEAST = 1e-6
"""Pixels that stand for a height or width of 0 where it is divided by."""


def to_xywh(xyxy: Floats) -> State:
    """(N, 4) boxes → centre x, centre y, width, height, as BoT-SORT measures."""
    values: State = xyxy @ _TO_XYWH
    return values


def from_xywh(values: State) -> State:
    """The inverse of :func:`to_xywh`. A size driven below 0 gives a box that ends before it starts."""
    return values @ _FROM_XYWH


def to_xyah(xyxy: Floats) -> State:
    """(N, 4) boxes → centre x, centre y, aspect ratio (width / height), height, as DeepSORT measures."""
    values = to_xywh(xyxy)
    values[:, 2] /= np.maximum(values[:, 3], _LEAST)
    return values


def from_xyah(values: State) -> State:
    """The inverse of :func:`to_xyah`. A size driven below 0 gives a box that ends before it starts."""
    values = values.copy()
    values[:, 2] *= values[:, 3]
    return from_xywh(values)


def to_xysr(xyxy: Floats) -> State:
    """(N, 4) boxes → centre x, centre y, area, aspect ratio (width / height), as SORT measures."""
    values = to_xywh(xyxy)
    width, height = values[:, 2].copy(), values[:, 3].copy()
    values[:, 2] *= height
    values[:, 3] = width / np.maximum(height, _LEAST)
    return values


def from_xysr(values: State) -> State:
    """The inverse of :func:`to_xysr`. An area or aspect ratio driven below 0 counts as 0."""
    values = values.copy()
    area, aspect = np.maximum(values[:, 2:], 0).T
    values[:, 2] = np.sqrt(area * aspect)
    values[:, 3] = area / np.maximum(values[:, 2], _LEAST)
    return from_xywh(values)


@dataclass(frozen=True)
class Motion:
    """How a box is measured, how far constant velocity is trusted, and how far the measurement.

    Attributes:
        measure: (N, 4) ``xyxy`` → (N, 4) values.
        boxes: its inverse.
        scale: (N, 4) values → the unit of each standard deviation below, (N, 4).
        value: standard deviation that one frame adds to each value.
        velocity: standard deviation that one frame adds to each velocity.
        measurement: standard deviation of each measured value.
        first_value: standard deviation of each value of a new track.
        first_velocity: standard deviation of each velocity of a new track; 0 keeps a value from moving.
    """

    measure: Callable[[Floats], State]
    boxes: Callable[[State], State]
    scale: Callable[[State], State]
    value: Four
    velocity: Four
    measurement: Four
    first_value: Four
    first_velocity: Four

    @functools.cached_property
    def variances(self) -> State:
        """The five rows above, squared: (5, 4)."""
        return np.square(
            [self.value, self.velocity, self.measurement, self.first_value, self.first_velocity],
            dtype=np.float64,
        )


def ones(values: State) -> State:
    """The scale of noise that is given in pixels."""
    return np.ones_like(values)


def _height_but_aspect(values: State) -> State:
    scale = values.take((3, 3, 3, 3), axis=1)
    scale[:, 2] = 1
    return scale


def _size(values: State) -> State:
    return values.take((2, 3, 2, 3), axis=1)


XYSR = Motion(
    to_xysr,
    from_xysr,
    ones,
    value=(1, 1, 1, 1),
    velocity=(0.1, 0.1, 0.01, 0),
    measurement=(1, 1, 10**0.5, 10**0.5),
    first_value=(10**0.5, 10**0.5, 10**0.5, 10**0.5),
    first_velocity=(100, 100, 100, 0),
)
"""SORT's, in pixels: the aspect ratio is taken as constant."""

XYAH = Motion(
    to_xyah,
    from_xyah,
    _height_but_aspect,
    value=(1 / 20, 1 / 20, 1e-2, 1 / 20),
    velocity=(1 / 160, 1 / 160, 1e-5, 1 / 160),
    measurement=(1 / 20, 1 / 20, 1e-1, 1 / 20),
    first_value=(1 / 10, 1 / 10, 1e-2, 1 / 10),
    first_velocity=(1 / 16, 1 / 16, 1e-5, 1 / 16),
)
"""DeepSORT's, in box heights; the aspect ratio has its own."""

XYWH = Motion(
    to_xywh,
    from_xywh,
    _size,
    value=(1 / 20,) * 4,
    velocity=(1 / 160,) * 4,
    measurement=(1 / 20,) * 4,
    first_value=(1 / 10,) * 4,
    first_velocity=(1 / 16,) * 4,
)
"""BoT-SORT's, in box widths and heights."""

WALKERS = replace(XYWH, velocity=(1 / 80,) * 4, first_velocity=(1 / 4,) * 4)
"""XYWH for people at 7 to 30 frames/s. The published noise is for 30, where a person moves little between
two frames. At 7, a walker covers a quarter of a body's width and more before any velocity is known."""


def initiate(motion: Motion, measured: State) -> State:
    """The state (5, N, 4) of new tracks from their first measurement (N, 4): at rest, and unsure of it."""
    unit = np.square(motion.scale(measured))
    state = np.zeros((5, *measured.shape))
    state[0] = measured
    state[2] = unit * motion.variances[3]
    state[4] = unit * motion.variances[4]
    return state


def predict(motion: Motion, state: State, dt: float | State = 1.0) -> None:
    """Move every track ``dt`` frames ahead, in place.

    x ← F x, P ← F P Fᵀ + Q dt with F = [[1, dt], [0, 1]]: at ``dt`` = 1 the papers' filter, and otherwise
    noise that grows with time as that of a random walk.

    Args:
        motion: what the state describes.
        state: (5, N, 4).
        dt: frames, one number for all or (N, 1), one for each.
    """
    unit = np.square(motion.scale(state[0]))
    if not isinstance(dt, np.ndarray) and dt == 1:  # the usual case, in less than half of the steps
        state[0:3:2] += state[1:4:2]
        state[3] += state[4]
        state[2] += state[3]
        state[2::2] += unit * motion.variances[:2, None]
        return
    value, velocity, p, c, v = state
    unit *= dt
    value += velocity * dt
    p += dt * c
    c += dt * v
    p += dt * c
    p += unit * motion.variances[0]
    v += unit * motion.variances[1]


def update(motion: Motion, state: State, measured: State) -> None:
    """Correct every track of ``state`` (5, N, 4) by its measurement (N, 4), in place.

    K = P Hᵀ (H P Hᵀ + R)⁻¹, x ← x + K (z − H x), P ← (I − K H) P, with H = [1, 0].
    """
    noise = np.square(motion.scale(state[0]))
    noise *= motion.variances[2]
    _correct(state, measured, noise)


def _correct(state: State, measured: State, noise: State) -> None:
    """As :func:`update`, with R given: (N, 4), which is overwritten."""
    total = state[2] + noise
    surprise = measured - state[0]
    surprise /= total
    state[:2] += state[2:4] * surprise
    gone = np.square(state[3])
    gone /= total
    state[4] -= gone
    noise /= total
    state[2:4] *= noise


def spread(motion: Motion, state: State) -> State:
    """The variance of what each track expects to be measured, H P Hᵀ + R: (5, N, 4) → (N, 4)."""
    noise = np.square(motion.scale(state[0]))
    noise *= motion.variances[2]
    noise += state[2]
    return noise


def replay(motion: Motion, state: State, first: Floats, last: Floats, time: State) -> None:
    """Take tracks along a straight way between two boxes in place of what they did unseen.

    The re-update of OC-SORT (Cao et al., CVPR 2023, eq. 5 and 6): a filter that was left alone for several
    frames has drifted, so it goes back to where it was seen last, and is led by virtual measurements, equally
    far apart on the line from the last box to the new one, one for each frame between. What is left to do is
    the update by the new box itself. The noise is that of the box at the start all along.

    Args:
        motion: what the state describes.
        state: (5, N, 4) as it was after each track was last seen; changed in place.
        first: (N, 4) box in which it was seen then.
        last: (N, 4) box in which it is seen now.
        time: (N,) frames between the two, > 0; those that are not whole are divided evenly.
    """
    if not len(time):
        return
    steps = np.maximum(np.rint(time), 1).astype(np.intp)
    order = np.argsort(-steps, kind="stable")  # those that have the longest way stand in front
    steps = steps[order]
    dt = (time[order] / steps)[:, None]
    most = int(steps[0])
    going = np.searchsorted(-steps, -np.arange(most + 2), side="right").tolist()
    share = np.minimum(np.arange(1, most + 1)[:, None] / steps, 1)[:, :, None]
    way = first[order] + share * (last - first)[order]
    measured = motion.measure(way.reshape(-1, 4)).reshape(way.shape)
    # With time counted in steps of each track, all go by 1.
    moved = state[:, order]
    units = np.stack((np.ones_like(dt), dt, np.ones_like(dt), dt, dt * dt))
    moved *= units
    noise = np.square(motion.scale(moved[0])) * motion.variances[:3, None]
    noise[0] *= dt
    noise[1] *= dt**3
    for step in range(1, most + 1):
        here = moved[:, : going[step]]
        here[0:3:2] += here[1:4:2]
        here[3] += here[4]
        here[2] += here[3]
        here[2::2] += noise[:2, : going[step]]
        between = going[step + 1]
        if between:
            here = moved[:, :between]
            _correct(here, measured[step - 1, :between], noise[2, :between].copy())
    moved /= units
    state[:, order] = moved


def warp(state: State, affine: State) -> None:
    """Carry tracks described as :data:`XYWH` to where a moving camera now sees the same places, in place.

    Centres and their velocities go through the affine map, sizes and theirs are scaled by the root of its
    determinant. Variances follow as those of independent numbers do; the covariance between x and y that a
    rotation makes is left out, which the state has no room for: at the few degrees by which a camera turns
    from frame to frame it is negligible.

    Args:
        state: (5, N, 4).
        affine: (2, 3) from pixels of the last frame to pixels of this one.
    """
    turn, shift = affine[:, :2], affine[:, 2]
    state[:2, :, :2] = state[:2, :, :2] @ turn.T
    state[0, :, :2] += shift
    state[2:, :, :2] = state[2:, :, :2] @ np.square(turn.T)
    scale = float(np.sqrt(abs(np.linalg.det(turn))))
    state[:2, :, 2:] *= scale
    state[2:, :, 2:] *= scale * scale
