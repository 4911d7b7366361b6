"""Where tools define a metric differently, a preset says whose definition is meant."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsight.registry import lookup


@dataclass(frozen=True, slots=True)
class Preset:
    """One tool's choices, for all metrics at once.

    ``once``: a pixel that is fixated twice counts once. ``unfixated``: the negatives of the exact AUC are the
    pixels that nobody fixated, instead of all pixels. ``noise``: the distribution of AUC-Judd's jitter.
    ``step``: the spacing of the thresholds of AUC-Borji and shuffled AUC, on the map stretched to [0, 1];
    ``None``: every value is a threshold, and all negatives are used. ``ddof``: of the standard deviation in
    NSS. ``lift``: SIM, EMD and information gain subtract a map's minimum always, instead of only where it is
    negative. ``floor``: added to maps before they are divided by their sum in KL, information gain and
    log-likelihood. ``epsilon``: added inside the logarithm, and in KL also to the divisor. ``seed``: of the
    metrics that draw random numbers. ``rounding``: S-measure takes the rounding error of a mean for contrast.
    """

    once: bool
    unfixated: bool
    noise: str
    step: float | None
    ddof: int
    lift: bool
    floor: float
    epsilon: float
    seed: int
    rounding: bool


_MIT = Preset(
    once=True,
    unfixated=True,
    noise="uniform",
    step=0.1,
    ddof=1,
    lift=True,
    floor=0.0,
    epsilon=2.0**-52,
    seed=0,
    rounding=False,
)

# PySODMetrics has nothing for fixations, and every preset scores regions as it does, but for parts of a map
# that are even.
PRESETS: dict[str, Preset] = {
    "mit": _MIT,
    "pysaliency": Preset(
        once=False,
        unfixated=False,
        noise="normal",
        step=None,
        ddof=0,
        lift=False,
        floor=1e-20,
        epsilon=0.0,
        seed=42,
        rounding=False,
    ),
    "pysod": replace(_MIT, rounding=True),
}


def preset_of(name: str) -> Preset:
    """The preset called ``name``.

    Raises:
        SparsightError: there is none; the sentence lists all.
    """
    return lookup("preset of saliency metrics", name, PRESETS)
