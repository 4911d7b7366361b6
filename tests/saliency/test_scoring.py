"""Scoring: what is scored, against what, what is left out, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scoring_models as made

from sparsight import SparsightError, media
from sparsight.saliency import metrics as measures
from sparsight.saliency.datasets import Dataset, load
from sparsight.saliency.priors import centre_map
from sparsight.saliency.scoring import fewer, score_dataset, summarise
from sparsight.saliency.scoring_truth import (
    CENTRE_SIGMA,
    make_field,
    read_pictures,
    truth_of,
    with_centre_prior,
)

pd = pytest.importorskip("pandas")


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return load(f"folder:{made.make_folder(tmp_path / 'data')}")


def scores(data: Dataset, *models: str, **options: Any) -> Any:
    return score_dataset(data, models or made.MODELS, **{"metrics": made.METRICS, **options})


def test_a_row_for_each_image_model_and_prior(data: Dataset) -> None:
    found = scores(data, metrics="all")
    names = [name for name, metric in measures.METRICS.items() if metric.kind in ("fixations", "density")]
    assert list(found.table.columns) == ["dataset", "image", "model", "prior", *names]
    assert found.metrics == tuple(names)
    expected = {(i, m, p) for i in "abc" for m in made.MODELS for p in ("none", "centre")}
    assert set(found.table[["image", "model", "prior"]].itertuples(index=False, name=None)) == expected
    assert len(found.table) == len(expected)
    assert (found.table["dataset"] == "data").all()
    assert (found.table[names].dtypes == np.float64).all()
    assert np.isfinite(found.table[names].to_numpy()).all()
    assert found.skipped.keys() == {"d"}
    assert "has no fixations on it" in found.skipped["d"]


def test_the_numbers_are_those_of_the_metrics(data: Dataset) -> None:
    found = scores(data, "random", sigma=5.0, seed=3).table
    from sparsight.saliency import build

    image = data.image(1)
    values = build("random")(image).map
    assert data.fixations is not None
    xy = data.fixations.xy(1)
    density = measures.density_map(xy, image.shape[:2], 5.0)
    prior = centre_map(image.shape[:2], CENTRE_SIGMA)
    for name, judged in (("none", values), ("centre", values * prior)):
        row = found[(found["image"] == "b") & (found["prior"] == name)].iloc[0]
        assert row["auc"] == pytest.approx(measures.auc(judged, xy), abs=1e-12)
        assert row["nss"] == pytest.approx(measures.nss(judged, xy), abs=1e-12)
        assert row["cc"] == pytest.approx(measures.cc(judged, density), abs=1e-12)
        assert row["kl"] == pytest.approx(measures.kl(judged, density), abs=1e-12)


def test_the_centre_bias_of_a_model_is_the_prior_of_an_even_map(data: Dataset) -> None:
    table = scores(data, "center_bias", "uniform").table
    bias = table[(table["model"] == "center_bias") & (table["prior"] == "none")]
    even = table[(table["model"] == "uniform") & (table["prior"] == "centre")]
    # The one is stretched to a maximum of one, and floats are single.
    np.testing.assert_allclose(bias[["auc", "nss", "cc"]], even[["auc", "nss", "cc"]], atol=1e-4)


def test_an_even_map_is_worth_nothing(data: Dataset) -> None:
    table = scores(data, "uniform").table
    even = table[table["prior"] == "none"]
    assert (even["auc"] == 0.5).all() and (even["shuffled_auc"] == 0.5).all() and (even["nss"] == 0).all()


def field_of(data: Dataset, **options: Any) -> Any:
    sizes = np.array([data.size(index) for index in range(len(data))])
    return make_field(data, sizes, **{"sigma": 4.0, "seed": 0, "resize": False, **options})


def test_the_centre_bias_leaves_the_image_itself_out(data: Dataset) -> None:
    field = field_of(data)
    truth = truth_of(field, 0, read_pictures(data, 0))
    # A slow version: the fixations of all other images, scaled, on the full grid.
    assert data.fixations is not None
    height, width = data.size(0)
    others = [
        data.fixations.xy(index) / data.size(index)[::-1] * (width, height) for index in range(1, len(data))
    ]
    slow = 0.99 * measures.density_map(np.concatenate(others), (height, width), 4.0) + 0.01 / (height * width)
    assert truth["baseline"].shape == (height, width)
    assert truth["baseline"].sum() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(truth["baseline"], slow, atol=0.02 * slow.max())
    # The negatives are fixations of the others, too.
    allowed = np.concatenate(others)
    distance = np.abs(truth["other_xy"][:, None] - allowed[None]).sum(axis=2).min(axis=1)
    assert distance.max() < 1e-9 and len(truth["other_xy"]) == len(allowed)


def test_the_centre_bias_of_a_large_image_is_that_of_a_small_one(tmp_path: Path) -> None:
    root = tmp_path / "large"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(1)
    lines = ["image,x,y"]
    for name in "ab":
        media.write_image(root / "images" / f"{name}.png", np.zeros((400, 600, 3), np.uint8))
        lines += [f"{name}.png,{x},{y}" for x, y in rng.integers(0, 400, (60, 2))]
    (root / "fixations.csv").write_text("\n".join(lines))
    data = load(f"folder:{root}")
    bias = truth_of(field_of(data, sigma=24.0), 0, read_pictures(data, 0))["baseline"]
    assert data.fixations is not None
    slow = 0.99 * measures.density_map(data.fixations.xy(1), (400, 600), 24.0) + 0.01 / 240_000
    assert np.corrcoef(bias.ravel(), slow.ravel())[0, 1] > 0.998
    assert np.abs(bias - slow).max() < 0.05 * slow.max()


def test_the_seed_draws_the_negatives(tmp_path: Path) -> None:
    root = tmp_path / "many"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(1)
    lines = ["image,x,y"]
    for name in range(25):
        media.write_image(root / "images" / f"{name}.png", np.zeros((20, 20, 3), np.uint8))
        lines += [f"{name}.png,{x},{y}" for x, y in rng.integers(0, 20, (3, 2))]
    (root / "fixations.csv").write_text("\n".join(lines))
    data = load(f"folder:{root}")

    def negatives(seed: int) -> Any:
        return truth_of(field_of(data, seed=seed), 4, read_pictures(data, 4))["other_xy"]

    assert negatives(0).shape == (30, 2)
    np.testing.assert_array_equal(negatives(0), negatives(0))
    assert (negatives(0) != negatives(1)).any()


def test_a_negative_map_is_lifted_before_the_prior() -> None:
    values = np.array([[-1.0, 0.0], [1.0, 3.0]], np.float32)
    np.testing.assert_allclose(with_centre_prior(values), (values + 1) * centre_map((2, 2), CENTRE_SIGMA))


def test_fixations_outside_are_dropped_and_counted(data: Dataset, tmp_path: Path) -> None:
    before = scores(data)
    path = tmp_path / "data" / "fixations.csv"
    path.write_text(path.read_text() + "a.jpg,64,3\na.jpg,-0.1,3\nb.jpg,3,1000\nd.jpg,3,-7\n")
    found = scores(load(f"folder:{tmp_path / 'data'}"))
    assert (found.outside, before.outside) == (4, 0)
    assert found.fixations == before.fixations == 36
    pd.testing.assert_frame_equal(found.table, before.table)
    assert found.skipped.keys() == {"d"}


@pytest.mark.parametrize("cut", [0, 10, 2000])
def test_a_damaged_image_is_left_out(data: Dataset, cut: int) -> None:
    whole = scores(data).table
    data.images[1].write_bytes(data.images[1].read_bytes()[:cut])
    found = scores(data)
    assert found.skipped.keys() == {"b", "d"}
    assert "b.jpg" in found.skipped["b"]
    names = ["auc", "nss", "cc", "kl"]
    left = whole[whole["image"] != "b"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.table[names], left[names])


def test_an_image_with_damaged_fixations_is_left_out(data: Dataset) -> None:
    whole = scores(data, "uniform").table
    assert data.fixations is not None
    without = data.fixations.keep(data.fixations.image != 1)
    damaged = dataclasses.replace(data, fixations=without, unread={"b": "b.mat is damaged."})
    found = scores(damaged, "uniform")
    assert found.skipped["b"] == "b.mat is damaged."
    assert set(found.table["image"]) == {"a", "c"}
    left = whole[whole["image"] != "b"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.table[["auc", "nss", "cc"]], left[["auc", "nss", "cc"]])
    # Also where a metric needs no fixations.
    mask = data.images[1].parent.parent / "mask.png"
    media.write_image(mask, np.full((64, 48, 3), 255, np.uint8))
    both = dataclasses.replace(damaged, masks=(None, mask, None, None))
    assert "b" in scores(both, "uniform", metrics=["nss", "mae"]).skipped


def test_no_image_can_be_read(data: Dataset) -> None:
    for path in data.images:
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SparsightError, match=r"no image could be scored; the first one: .*a\.jpg"):
        scores(data)
    for path in data.images:
        path.write_bytes(b"")
    with pytest.raises(SparsightError, match=r"no image of data can be scored; the first one: .*a\.jpg"):
        scores(data)


def stored(tmp_path: Path, shape: tuple[int, int] | None = None, value: float | None = None) -> str:
    folder = tmp_path / "maps"
    folder.mkdir()
    for name, size in made.SHAPES.items():
        values = np.random.default_rng(5).random(shape or size).astype(np.float32)
        if value is not None:
            values[3, 3] = value
        np.save(folder / f"{name}.npy", values)
    return f"maps:{folder}"


def test_stored_maps_are_found_by_name(data: Dataset, tmp_path: Path) -> None:
    table = scores(data, stored(tmp_path)).table
    assert np.isfinite(table["nss"]).all()


def test_stored_maps_of_another_size_are_refused_or_stretched(data: Dataset, tmp_path: Path) -> None:
    model = stored(tmp_path, (7, 9))
    with pytest.raises(SparsightError, match=r"9x7 pixels, its image 64x48"):
        scores(data, model)
    assert np.isfinite(scores(data, model, resize=True).table["nss"]).all()


def test_a_map_that_is_missing_is_an_error(data: Dataset, tmp_path: Path) -> None:
    model = stored(tmp_path)
    (tmp_path / "maps" / "b.npy").unlink()
    with pytest.raises(SparsightError, match="no map for the image b"):
        scores(data, model)


def test_a_map_of_another_size_is_refused_or_stretched(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparsight.saliency import SaliencyResult, models

    def small(image: media.Image) -> SaliencyResult:
        return SaliencyResult(cv2.resize(image[..., 0].astype(np.float32), (9, 7)))

    monkeypatch.setattr(models, "build", lambda name: small)
    with pytest.raises(SparsightError, match=r"9x7 pixels, the image 64x48 pixels.*--resize"):
        scores(data, "uniform")
    assert np.isfinite(scores(data, "uniform", resize=True).table["nss"]).all()


def test_a_map_with_a_hole_is_refused(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from sparsight.saliency import SaliencyResult, models

    def broken(image: media.Image) -> SaliencyResult:
        return SaliencyResult(np.full(image.shape[:2], np.nan, np.float32))

    monkeypatch.setattr(models, "build", lambda name: broken)
    with pytest.raises(SparsightError, match=r"uniform gives NaN.* for the image a"):
        scores(data, "uniform")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metrics": "s_measure"}, "the metric s_measure needs mask, which data does not have"),
        ({"metrics": ["ncc"]}, "no saliency metric called 'ncc'"),
        ({"metrics": []}, "there is no metric"),
        ({"jobs": 0}, "jobs=0"),
        ({"limit": 0}, "limit=0"),
        ({"sigma": 0.0}, "sigma=0"),
        ({"sigma": float("nan")}, "sigma=nan"),
        ({"seed": -1}, "seed=-1"),
        ({"preset": "mat"}, "no preset called 'mat': did you mean 'mit'"),
    ],
)
def test_bad_options(data: Dataset, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SparsightError, match=said):
        scores(data, **options)


def test_bad_models(data: Dataset) -> None:
    with pytest.raises(SparsightError, match="no saliency model called 'unform': did you mean 'uniform'"):
        scores(data, "unform")
    with pytest.raises(SparsightError, match="there is no model to score"):
        score_dataset(data, [])


def test_nothing_to_score_by(tmp_path: Path) -> None:
    (tmp_path / "BenchmarkIMAGES").mkdir()
    media.write_image(tmp_path / "BenchmarkIMAGES" / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(SparsightError, match="mit300 has neither fixations nor regions"):
        score_dataset(load("mit300", tmp_path), ["uniform"])


def test_an_image_is_left_out_where_no_metric_has_what_it_needs(data: Dataset) -> None:
    """Image d has a region, but no fixations; image a has both, the others have fixations only."""
    mask = np.zeros((*data.size(0), 3), np.uint8)
    mask[:5] = 255
    masks = []
    for index, name in enumerate(data.names):
        path = data.images[index].parent.parent / "masks" / f"{name}.png"
        if name in "ad":
            media.write_image(path, np.resize(mask, (*data.size(index), 3)))
        masks.append(path if name in "ad" else None)
    both = dataclasses.replace(data, masks=tuple(masks))
    assert scores(both, "uniform", metrics="nss").skipped.keys() == {"d"}
    assert scores(both, "uniform", metrics="mae").skipped.keys() == {"b", "c"}
    mixed = scores(both, "uniform", metrics=["nss", "mae"])
    assert not mixed.skipped
    assert [sentence.split(",")[0] for sentence in fewer(mixed)] == [
        "mae: scored on 2 of 4 images",
        "nss: scored on 3 of 4 images",
    ]


class TestRegions:
    @pytest.fixture
    def regions(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(0)
        for folder in ("images", "ground_truth_mask"):
            (tmp_path / folder).mkdir()
        for name in "abc":
            media.write_image(
                tmp_path / "images" / f"{name}.jpg", rng.integers(0, 256, (30, 40, 3), np.uint8)
            )
            mask = np.zeros((30, 40), np.uint8)
            mask[8:20, 12:26] = 255
            media.write_image(tmp_path / "ground_truth_mask" / f"{name}.png", mask)
        return tmp_path

    def test_all_metrics_of_regions(self, regions: Path) -> None:
        data = load("ecssd", regions)
        found = score_dataset(data, ["center_bias"])
        assert {measures.METRICS[name].kind for name in found.metrics} == {"regions"}
        row = found.table.iloc[0]
        from sparsight.saliency import build

        mask = data.mask(0)
        assert mask is not None
        values = build("center_bias")(data.image(0)).map
        assert row["mae"] == pytest.approx(measures.mae(values, mask), abs=1e-12)
        assert row["s_measure"] == pytest.approx(measures.s_measure(values, mask), abs=1e-12)

    def test_an_empty_mask_is_left_out(self, regions: Path) -> None:
        media.write_image(regions / "ground_truth_mask" / "b.png", np.zeros((30, 40), np.uint8))
        found = score_dataset(load("ecssd", regions), ["uniform"], metrics="mae")
        assert found.skipped.keys() == {"b"}
        assert set(found.table["image"]) == {"a", "c"}

    def test_a_damaged_mask_is_left_out(self, regions: Path) -> None:
        (regions / "ground_truth_mask" / "b.png").write_bytes(b"no picture")
        found = score_dataset(load("ecssd", regions), ["uniform"], metrics="mae")
        assert "b.png" in found.skipped["b"]

    def test_a_mask_of_another_size_is_refused_or_stretched(self, regions: Path) -> None:
        mask = np.zeros((15, 20), np.uint8)
        mask[4:10, 6:13] = 255
        media.write_image(regions / "ground_truth_mask" / "b.png", mask)
        data = load("ecssd", regions)
        with pytest.raises(SparsightError, match="image b is 20x15 pixels, the image 40x30 pixels"):
            score_dataset(data, ["uniform"], metrics="mae")
        table = score_dataset(data, ["center_bias"], metrics="mae", resize=True).table
        values = table[table["prior"] == "none"]["mae"].to_numpy()
        assert values[1] == pytest.approx(values[0], abs=0.02)


def test_the_odd_one_out(tmp_path: Path) -> None:
    for folder in ("images", "targ_images", "dist_images"):
        (tmp_path / folder).mkdir()
    image = np.full((60, 90, 3), 100, np.uint8)
    image[20:30, 10:20] = (255, 0, 0)
    masks = np.zeros((2, 60, 90), np.uint8)
    masks[0, 20:30, 10:20] = masks[1, 20:30, 40:50] = masks[1, 20:30, 70:80] = 255
    media.write_image(tmp_path / "images" / "a.png", image)
    media.write_image(tmp_path / "targ_images" / "a.png", masks[0])
    media.write_image(tmp_path / "dist_images" / "a.png", masks[1])
    data = load("o3", tmp_path)
    assert truth_of(field_of(data), 0, read_pictures(data, 0))["distractor_size"] == 10
    found = score_dataset(data, ["uniform"])
    assert {measures.METRICS[name].kind for name in found.metrics} == {"oddity"}
    assert found.table["gsi"].iloc[0] == 0


class TestSummary:
    def table(self, values: Any, **more: Any) -> Any:
        images = [str(index) for index in range(len(values))]
        return pd.DataFrame(
            {"dataset": "d", "image": images, "model": "m", "prior": "none", "nss": values, **more}
        )

    def test_mean_and_interval(self) -> None:
        values = np.random.default_rng(0).normal(2, 1, 400)
        (row,) = summarise(self.table(values)).itertuples(index=False)
        assert (row.dataset, row.model, row.prior, row.metric, row.images) == ("d", "m", "none", "nss", 400)
        assert row.mean == pytest.approx(values.mean())
        # For a mean of many the bootstrap comes near the normal interval.
        half = 1.96 * values.std() / 20
        assert row.low == pytest.approx(values.mean() - half, abs=0.15 * half)
        assert row.high == pytest.approx(values.mean() + half, abs=0.15 * half)

    def test_as_scipy_has_it(self) -> None:
        from scipy.stats import bootstrap

        values = np.random.default_rng(1).exponential(1, 80)
        theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, random_state=0)
        (row,) = summarise(self.table(values), resamples=20_000).itertuples(index=False)
        assert row.low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
        assert row.high == pytest.approx(theirs.confidence_interval.high, abs=0.01)

    def test_missing_scores_are_left_out(self) -> None:
        values = np.array([1.0, np.nan, 3.0, np.nan])
        found = summarise(self.table(values, cc=np.nan, auc=0.5))
        assert found["metric"].tolist() == ["nss", "auc"]
        nss, auc = found.itertuples(index=False)
        assert (nss.images, nss.mean) == (2, 2.0)
        assert 1 <= nss.low <= nss.high <= 3
        assert (auc.images, auc.mean, auc.low, auc.high) == (4, 0.5, 0.5, 0.5)

    def test_one_image(self) -> None:
        (row,) = summarise(self.table([1.5])).itertuples(index=False)
        assert (row.mean, row.low, row.high) == (1.5, 1.5, 1.5)


class TestGoingOn:
    def test_killed_and_started_again(
        self, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from sparsight.saliency import scoring_parts, scoring_workers

        monkeypatch.setattr(scoring_parts, "CHUNK", 1)
        whole = scores(data).table
        out = tmp_path / "out"
        genuine = scoring_workers.truth_of
        seen: list[int] = []

        def dying(field: Any, index: int, pictures: Any) -> Any:
            seen.append(index)
            if len(seen) == 3:
                raise KeyboardInterrupt
            return genuine(field, index, pictures)

        monkeypatch.setattr(scoring_workers, "truth_of", dying)
        with pytest.raises(KeyboardInterrupt):
            scores(data, out=out)
        assert not (out / "scores.parquet").exists()
        told: list[tuple[int, int]] = []
        found = scores(data, out=out, progress=lambda done, total: told.append((done, total)))
        assert seen == [0, 1, 2, 2]  # what was done is not done again
        assert told[0] == (6, 9) and told[-1] == (9, 9)
        pd.testing.assert_frame_equal(found.table, whole)
        pd.testing.assert_frame_equal(pd.read_parquet(out / "scores.parquet"), whole)

    def test_other_models_are_added(
        self, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from sparsight.saliency import models

        scores(data, "uniform", out=tmp_path / "out")
        built: list[str] = []
        genuine = models.build
        monkeypatch.setattr(models, "build", lambda name: built.append(name) or genuine(name))
        found = scores(data, "uniform", "random", out=tmp_path / "out")
        assert built == ["random"]
        assert found.table["model"].unique().tolist() == ["uniform", "random"]
        assert found.skipped.keys() == {"d"}

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"sigma": 7.0}, "sigma None, not 7.0"),
            ({"seed": 1}, "seed 0, not 1"),
            ({"limit": 2}, "limit None, not 2"),
            ({"metrics": ("auc", "nss")}, "metrics auc, .*, not auc, nss"),
            ({"preset": "pysaliency"}, "preset mit, not pysaliency"),
            ({"resize": True}, "resize False, not True"),
        ],
    )
    def test_other_settings_are_refused(
        self, data: Dataset, tmp_path: Path, options: dict[str, Any], said: str
    ) -> None:
        scores(data, "uniform", out=tmp_path / "out")
        with pytest.raises(SparsightError, match=f"holds scores made with {said}: give that again"):
            scores(data, "uniform", out=tmp_path / "out", **options)

    def test_other_fixations_are_refused(self, data: Dataset, tmp_path: Path) -> None:
        scores(data, "uniform", out=tmp_path / "out")
        path = tmp_path / "data" / "fixations.csv"
        path.write_text(path.read_text() + "a.jpg,2,3\n")
        with pytest.raises(SparsightError, match=r"its files and fixations .*, not "):
            scores(load(f"folder:{tmp_path / 'data'}"), "uniform", out=tmp_path / "out")

    def test_a_run_without_scores_binds_nobody(self, data: Dataset, tmp_path: Path) -> None:
        out = tmp_path / "out"
        with pytest.raises(SparsightError, match="there is no folder"):
            scores(data, f"maps:{tmp_path / 'nowhere'}", out=out)
        again = scores(data, "uniform", out=out, sigma=7.0, preset="pysaliency", metrics="nss")
        assert json.loads((out / "settings.json").read_text())["sigma"] == 7.0
        assert len(again.table) == 6
        with pytest.raises(SparsightError, match="holds scores made with"):
            scores(data, "uniform", out=out)

    def test_settings_that_cannot_be_read(self, data: Dataset, tmp_path: Path) -> None:
        scores(data, "uniform", out=tmp_path / "out")
        (tmp_path / "out" / "settings.json").write_text("{")
        with pytest.raises(SparsightError, match=r"settings\.json cannot be read"):
            scores(data, "uniform", out=tmp_path / "out")
        (tmp_path / "out" / "settings.json").write_text(json.dumps([1]))
        with pytest.raises(SparsightError, match="holds scores made with"):
            scores(data, "uniform", out=tmp_path / "out")

    def test_a_damaged_part_is_named(self, data: Dataset, tmp_path: Path) -> None:
        scores(data, "uniform", out=tmp_path / "out")
        (part,) = (tmp_path / "out" / "parts").glob("uniform-*/*.parquet")
        part.write_bytes(b"damaged")
        with pytest.raises(SparsightError, match=r"000000\.parquet cannot be read .*delete it"):
            scores(data, "uniform", out=tmp_path / "out")


class TestProcesses:
    def test_two_do_as_one(self, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from sparsight.saliency import scoring_parts

        monkeypatch.setattr(scoring_parts, "CHUNK", 1)
        one = scores(data, "uniform", "random")
        told: list[int] = []
        two = scores(data, "uniform", "random", jobs=2, progress=lambda done, total: told.append(done))
        pd.testing.assert_frame_equal(two.table, one.table)
        assert two.skipped == one.skipped
        assert told == list(range(7))

    def test_bad_input_comes_back_as_one_sentence(
        self, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from sparsight.saliency import scoring_parts

        monkeypatch.setattr(scoring_parts, "CHUNK", 1)
        model = stored(tmp_path)
        (tmp_path / "maps" / "b.npy").unlink()
        with pytest.raises(SparsightError, match=r"^[^\n]*no map for the image b[^\n]*$"):
            scores(data, model, jobs=2)

    def test_a_process_that_is_ended_from_outside(
        self, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import multiprocessing

        from sparsight.saliency import scoring_parts

        monkeypatch.setattr(scoring_parts, "CHUNK", 1)

        def strike(done: int, total: int) -> None:
            if done:
                for process in multiprocessing.active_children():
                    process.kill()

        with pytest.raises(SparsightError, match="ended from outside"):
            scores(data, "random", metrics="all", jobs=2, out=tmp_path / "out", progress=strike)
        assert multiprocessing.active_children() == []
        assert len(scores(data, "random", metrics="all", out=tmp_path / "out").table) == 6


def test_without_pandas(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SparsightError, match=r"pip install 'sparsight\[assess\]'"):
        scores(data)
