from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from made_scores import METRICS, scores_of, two_truths
from statsmodels.stats.multitest import multipletests

from sparsight import SparsightError, media
from sparsight.saliency.assess.effects import SIZE_LIMITS, property_effects, splits_of
from sparsight.saliency.assess.properties import PROPERTIES, RegionProperties, measure, region_properties
from sparsight.saliency.datasets import Dataset

UP = [0.0, 0.6, 1.2, 1.8]


def square(
    height: int = 120, width: int = 160, top: int = 40, left: int = 60, side: int = 40
) -> tuple[np.ndarray, np.ndarray]:
    """A red square on grey, and its mask."""
    image = np.full((height, width, 3), 128, np.uint8)
    mask = np.zeros((height, width), bool)
    mask[top : top + side, left : left + side] = True
    image[mask] = (220, 30, 30)
    return image, mask


def test_a_square_in_the_middle() -> None:
    found = region_properties(*square())
    assert set(found) == set(PROPERTIES)
    assert found["size"] == pytest.approx(1600 / 19200)
    assert found["number"] == 1
    assert found["eccentricity"] == pytest.approx(0)
    assert found["contrast_histogram"] == pytest.approx(1)
    lab = cv2.cvtColor(np.array([[[220, 30, 30], [128, 128, 128]]], np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    assert found["contrast_colour"] == pytest.approx(np.linalg.norm(lab[0] - lab[1]), rel=1e-5)


def test_where_and_how_many() -> None:
    _, first = square(top=0, left=0, side=20)
    _, second = square(top=100, left=140, side=20)
    image = np.full((120, 160, 3), 90, np.uint8)
    found = region_properties(image, first)
    away = np.hypot(59.5 - 9.5, 79.5 - 9.5)
    assert found["eccentricity"] == pytest.approx(away / np.hypot(60, 80))
    both = first | second
    both[60, 80] = True  # a speck
    found = region_properties(image, both)
    assert found["number"] == 2
    assert found["eccentricity"] == pytest.approx(0, abs=0.01)
    for name in ("contrast_histogram", "contrast_colour", "edges", "congestion"):
        assert found[name] == pytest.approx(0, abs=1e-4)
    speck = np.zeros_like(both)
    speck[5, 5] = True
    assert region_properties(image, speck)["number"] == 1


def test_contrast_is_to_what_is_nearest() -> None:
    image, mask = square()
    # Far from the square anything may stand: the surround holds as many pixels as the square.
    image[:, :20] = (220, 30, 30)
    assert region_properties(image, mask)["contrast_histogram"] == pytest.approx(1)
    image[:] = (220, 30, 30)
    assert region_properties(image, mask)["contrast_histogram"] == 0
    assert region_properties(image, np.ones_like(mask))["contrast_histogram"] == 0


def test_more_clutter_is_more() -> None:
    rng = np.random.default_rng(0)
    _, mask = square()
    smooth = np.repeat(np.linspace(60, 200, 160, dtype=np.uint8)[None, :, None], 120, 0).repeat(3, 2)
    patches = rng.integers(0, 256, (12, 16, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    noise = rng.integers(0, 256, (120, 160, 3), np.uint8)
    calm, busy, wild = (region_properties(image, mask) for image in (smooth, patches, noise))
    assert calm["congestion"] < busy["congestion"] < 200
    assert calm["congestion"] < wild["congestion"]
    assert calm["edges"] < busy["edges"] < wild["edges"]


def test_congestion_is_the_volume_of_local_colours() -> None:
    rng = np.random.default_rng(2)
    image = np.asarray(scipy.ndimage.gaussian_filter(rng.uniform(0, 255, (50, 70, 3)), (2, 2, 0)), np.uint8)
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).astype(float)
    found = []
    for _ in range(3):

        def pooled(plane: np.ndarray) -> np.ndarray:
            return scipy.ndimage.gaussian_filter(plane, 4, mode="mirror", truncate=4)

        mean = [pooled(lab[..., channel]) for channel in range(3)]
        covariance = np.empty((*lab.shape[:2], 3, 3))
        for a in range(3):
            for b in range(3):
                covariance[..., a, b] = pooled(lab[..., a] * lab[..., b]) - mean[a] * mean[b]
        found.append((np.clip(np.linalg.det(covariance), 0, None) ** (1 / 6)).mean())
        for axis in (0, 1):
            kernel = np.array([1, 4, 6, 4, 1]) / 16
            lab = scipy.ndimage.convolve1d(lab, kernel, axis=axis, mode="mirror")
        lab = lab[::2, ::2]
    measured = region_properties(image, np.eye(50, 70, dtype=bool))["congestion"]
    assert measured == pytest.approx(np.mean(found), rel=1e-2)


def test_the_surround_is_found_by_brute_force() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (14, 17, 3), np.uint8)
    mask = np.zeros((14, 17), bool)
    mask[2:6, 3:7] = mask[9:12, 12:15] = True
    inside = np.argwhere(mask)
    outside = np.argwhere(~mask)
    away = np.array([np.hypot(*(inside - place).T).min() for place in outside])
    ring = outside[away <= np.sort(away)[len(inside) - 1] + 1e-9]
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    colours = [lab[tuple(places.T)] for places in (inside, ring)]
    found = region_properties(image, mask)
    assert found["contrast_colour"] == pytest.approx(
        np.linalg.norm(colours[0].mean(0) - colours[1].mean(0)), rel=1e-5
    )
    shares = []
    for pixels in colours:
        cells = np.floor((pixels - [0, -128, -128]) / [12.5, 32, 32]).clip(0, 7).astype(int)
        share = np.zeros((8, 8, 8))
        for cell in cells:
            share[tuple(cell)] += 1 / len(cells)
        shares.append(share)
    a, b = shares
    known = a + b > 0
    assert found["contrast_histogram"] == pytest.approx(0.5 * ((a - b)[known] ** 2 / (a + b)[known]).sum())


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_every_picture_has_finite_properties(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < 0.4
    mask[rng.integers(height), rng.integers(width)] = True
    found = region_properties(rng.integers(0, 256, (height, width, 3), np.uint8), mask)
    assert np.isfinite(list(found.values())).all()
    assert 0 < found["size"] <= 1 and 0 <= found["eccentricity"] <= 1
    assert 0 <= found["contrast_histogram"] <= 1 + 1e-9 and 0 <= found["edges"] <= 1


def test_what_cannot_be_measured() -> None:
    image, mask = square()
    with pytest.raises(SparsightError, match="mask is 160x100 and the image 160x120"):
        region_properties(image, mask[:100])
    with pytest.raises(SparsightError, match="mask is empty"):
        region_properties(image, np.zeros_like(mask))


def test_a_data_set_is_measured(tmp_path: Path) -> None:
    image, mask = square()
    black = np.zeros(mask.shape, np.uint8)
    for name, region in (("one", mask * np.uint8(255)), ("two", black), ("three", None)):
        media.write_image(tmp_path / f"{name}.png", image)
        if region is not None:
            media.write_image(tmp_path / f"{name}-mask.png", region)
    paths = tuple(tmp_path / f"{name}.png" for name in ("one", "two", "three"))
    masks = (tmp_path / "one-mask.png", tmp_path / "two-mask.png", None)
    data = Dataset("made", paths, ("one", "two", "three"), masks=masks)
    told: list[tuple[int, int]] = []
    found = measure(data, progress=lambda done, total: told.append((done, total)))
    assert found.images == ("one",)
    assert found.values["size"] == pytest.approx([1600 / 19200])
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert found.notes == (
        "made two was left out: the mask is empty: there is no salient region to measure.",
        "1 of 3 images of made have no segmented region.",
    )
    assert measure(data, only={"one"}).notes == ()
    with pytest.raises(
        SparsightError, match=r"no region of made could be measured \(made two was left out: the"
    ):
        measure(data, only={"two"})
    with pytest.raises(SparsightError, match=r"\(none of 1 images has one\): choose a data set with"):
        measure(data, only={"three"})


def made_properties(images: int, seed: int = 0) -> RegionProperties:
    rng = np.random.default_rng(seed)
    values = {name: rng.uniform(0, 0.4, images) for name in PROPERTIES}
    values["number"] = rng.integers(1, 5, images).astype(float)
    return RegionProperties("made", tuple(f"{index:03d}" for index in range(images)), values)


def test_groups_of_images() -> None:
    properties = made_properties(90)
    splits = {(split.property, split.kind): split for split in splits_of(properties)}
    assert len(splits) == 8
    terciles = splits["size", "terciles"]
    assert np.bincount(terciles.group).tolist() == [30, 30, 30]
    values = properties.values["size"]
    assert values[terciles.group == 0].max() < values[terciles.group == 1].min()
    fixed = splits["size", "absolute"]
    assert (values[fixed.group == 1] >= SIZE_LIMITS[0]).all() and (
        values[fixed.group == 1] < SIZE_LIMITS[1]
    ).all()
    count = splits["number", "count"]
    assert (properties.values["number"][count.group == 2] >= 3).all()
    same = RegionProperties("made", properties.images, {"edges": np.r_[np.zeros(70), np.ones(20)]})
    assert "uneven (70, 0, 20 images)" in splits_of(same)[0].note


def test_an_effect_that_was_put_in_is_found_and_no_other() -> None:
    images = 180
    properties = made_properties(images)
    values = two_truths(UP, UP, images=images)
    size = properties.values["size"]
    # Larger regions are easier by every metric.
    values += (4 * size)[:, None, None] * np.array([1, 1, -1, 1, 1, -1.0])
    found = property_effects(scores_of(values), properties)
    assert len(found.effects) == 8 * 6
    assert not found.notes
    for effect in found.effects:
        if effect.split.property == "size":
            assert effect.p_holm < 1e-4 and effect.epsilon_squared > 0.2
            assert effect.rho > 0.4 and effect.p_rho < 1e-6
            assert effect.delta[2, 0] > 0.5 and effect.pairs[2, 0] < 1e-4
        else:
            assert effect.p_holm > 0.05
    assert found.correlation.shape == (7, 7)


def test_an_effect_is_made_of_the_tests_it_names() -> None:
    values = two_truths(UP, UP, images=60)
    scores = scores_of(values)
    properties = made_properties(60)
    found = property_effects(scores, properties)
    effect = next(each for each in found.effects if each.split.kind == "count" and each.measure.name == "kl")
    number = np.clip(properties.values["number"], 1, 3)
    kl = values[:, :, 2]
    parts = [kl[number == count] for count in (1, 2, 3)]
    theirs = scipy.stats.kruskal(*(part.mean(axis=1) for part in parts))
    assert (effect.h, effect.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert effect.counts.tolist() == [len(part) for part in parts]
    assert effect.means == pytest.approx([part.mean() for part in parts])
    assert effect.model_means == pytest.approx(np.array([part.mean(axis=0) for part in parts]))
    by_model = [scipy.stats.kruskal(*(part[:, model] for part in parts)).pvalue for model in range(4)]
    assert effect.model_p == pytest.approx(multipletests(by_model, method="holm")[1])
    chi2 = [scipy.stats.friedmanchisquare(*part.T) for part in parts]
    assert effect.w == pytest.approx(
        [test.statistic / (3 * len(part)) for test, part in zip(chi2, parts, strict=True)]
    )
    assert effect.p_models == pytest.approx(multipletests([test.pvalue for test in chi2], method="holm")[1])
    ranks = scipy.stats.rankdata(parts[0], axis=1).mean(axis=0)  # a low KL is the first rank
    assert effect.mean_ranks[0] == pytest.approx(ranks)
    better = -np.array(kl.mean(axis=1))
    assert effect.rho == pytest.approx(scipy.stats.spearmanr(properties.values["number"], better).statistic)
    everything = [each.p for each in found.effects]
    assert [each.p_holm for each in found.effects] == pytest.approx(
        multipletests(everything, method="holm")[1]
    )
    assert [each.p_bh for each in found.effects] == pytest.approx(
        multipletests(everything, method="fdr_bh")[1]
    )


def test_small_groups_are_left_out_and_said() -> None:
    properties = made_properties(30)
    number = np.ones(30)
    number[:10] = 2
    number[:3] = 3
    values = {**properties.values, "number": number, "edges": np.r_[np.ones(4), np.zeros(26)]}
    properties = RegionProperties("made", properties.images, values)
    found = property_effects(scores_of(two_truths(UP, UP, images=30)), properties)
    effect = next(each for each in found.effects if each.split.property == "number")
    assert effect.labels == ("1", "2")
    assert effect.caution == "left out, fewer than 5 images: 3 and more (3)"
    assert not any(each.split.property == "edges" for each in found.effects)
    assert any(note.startswith("No test of edges by terciles: fewer than two") for note in found.notes)


def test_scores_and_regions_must_be_of_the_same_images() -> None:
    scores = scores_of(two_truths(UP, UP, images=20), METRICS)
    other = made_properties(20)
    with pytest.raises(
        SparsightError, match="no scores on sod, whose regions were measured: the scores are on made"
    ):
        property_effects(scores, RegionProperties("sod", other.images, other.values))
    names = tuple(f"x{index}" for index in range(20))
    with pytest.raises(SparsightError, match="none of the 20 images of made with regions has scores"):
        property_effects(scores, RegionProperties("made", names, other.values))
