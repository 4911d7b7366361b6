from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from made_scores import METRICS, Metric, scores_of, two_truths

from sparsight import SparsightError
from sparsight.saliency.assess.tables import make_scores, read_scores

KNOWN = {metric.name: metric for metric in METRICS}


def table(**columns: Any) -> pandas.DataFrame:
    rows = {
        "dataset": ["osie"] * 4,
        "image": ["1", "1", "2", "2"],
        "model": ["a", "b", "a", "b"],
        "prior": ["none"] * 4,
        "auc": [0.5, 0.6, 0.7, 0.9],
        "kl": [1.0, 2.0, 3.0, 5.0],
    }
    return pandas.DataFrame({**rows, **columns})


def write(folder: Path, frame: pandas.DataFrame) -> Path:
    folder.mkdir(exist_ok=True)
    frame.to_parquet(folder / "scores.parquet", index=False)
    return folder


def test_a_table_becomes_an_array(tmp_path: Path) -> None:
    shuffled = table().iloc[[3, 0, 2, 1]]
    scores = read_scores([write(tmp_path, shuffled)], KNOWN)
    assert scores.images == ("2", "1")
    assert scores.models == ("b", "a")
    assert scores.values[:, :, 0].tolist() == [[0.9, 0.7], [0.6, 0.5]]
    assert scores.oriented[0, 0].tolist() == [0.9, -5.0]
    assert [measure.truth for measure in scores.measures] == ["fixations", "fixations"]
    assert not scores.notes


def test_several_tables_and_one_prior(tmp_path: Path) -> None:
    first = pandas.concat([table(), table(prior=["centre"] * 4, auc=[0.1, 0.2, 0.3, 0.4])])
    second = table(dataset=["sod"] * 4, f=[0.2, 0.3, 0.4, 0.6]).drop(columns=["auc", "kl"])
    places = [write(tmp_path / "one", first), write(tmp_path / "two", second) / "scores.parquet"]
    scores = read_scores(places, KNOWN)
    assert scores.datasets == ("osie", "sod")
    assert scores.values.shape == (4, 2, 3)
    assert [scores.measures[column].name for column in scores.columns(1)] == ["f"]
    assert scores.columns(0, "regions") == []
    assert scores.scored(0, [0]).tolist() == [0, 1]
    assert np.isnan(scores.values[scores.dataset == 1, :, 0]).all()
    with pytest.raises(SparsightError, match=r"no scores with prior 'centre' \(only none\)"):
        read_scores(places[1:], KNOWN, prior="centre")
    centred = read_scores(places[:1], KNOWN, prior="centre")
    assert centred.values[0, :, 0].tolist() == [0.1, 0.2]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    frame = table(
        nss=[np.nan] * 4, f=[0.3] * 4, s=[np.inf, 0.2, 0.3, 0.4], seconds=[1.0, 2, 3, 4], host=["x"] * 4
    )
    scores = read_scores([write(tmp_path, frame)], KNOWN)
    assert [measure.name for measure in scores.measures] == ["auc", "kl", "s"]
    assert scores.notes == (
        "Columns that are no metric known here were left out: seconds.",
        "1 infinite scores count as missing.",
        "Metric nss was left out: it holds no score.",
        "Metric f was left out: it is 0.3 everywhere.",
        "On osie, 1 of 1 metrics against regions miss scores; s most, on 1 of 2 images. These are left out "
        "where they would be compared.",
    )
    gap = read_scores([write(tmp_path, table(nss=[1.0, 2, np.nan, 3]))], KNOWN)
    assert "nss most, on 1 of 2 images" in gap.notes[0]


def test_a_metric_that_one_model_lacks(tmp_path: Path) -> None:
    place = write(tmp_path, table(nss=[1.0, np.nan, 2.0, np.nan]))
    scores = read_scores([place], KNOWN)
    assert scores.notes == ("Metric nss was left out on osie: it has no scores of b.",)
    assert [scores.measures[column].name for column in scores.columns(0)] == ["auc", "kl"]
    apart = read_scores([write(tmp_path, table(nss=[1.0, np.nan, np.nan, 3.0]))], KNOWN)
    assert apart.notes == ("Metric nss was left out on osie: it has no scores of all models on one image.",)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (table().drop(columns=["model", "prior"]), "lacks the columns model, prior"),
        (
            table(model=["a"] * 4, image=list("1234")),
            r"holds 1 model \(a\), and an assessment compares at least",
        ),
        (table().drop(columns="kl"), r"holds 1 metric that varies \(auc\)"),
        (table(auc=[1.0] * 4, kl=[2.0] * 4), "holds no metric that varies"),
        (table(model=["a", "b", "a", "a"]), "holds 2 scores of model 'a' on image '2' of 'osie'"),
        (table(image=["1", "2", "3", "4"]), "no image of osie has scores of all 2 models"),
        (table().iloc[:0], "no scores with prior 'none'"),
        (table(model=["a", "b", None, "b"]), "has 1 rows without a model"),
    ],
)
def test_bad_tables_in_a_sentence(tmp_path: Path, frame: pandas.DataFrame, said: str) -> None:
    with pytest.raises(SparsightError, match=said):
        read_scores([write(tmp_path, frame)], KNOWN)


def test_what_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match=r"holds no scores\.parquet"):
        read_scores([tmp_path], KNOWN)
    (tmp_path / "scores.parquet").write_text("dataset,image")
    with pytest.raises(SparsightError, match="no Parquet table that can be read"):
        read_scores([tmp_path], KNOWN)
    with pytest.raises(SparsightError, match="nothing to assess"):
        read_scores([], KNOWN)


def test_a_damaged_table_is_read_or_refused(tmp_path: Path) -> None:
    whole = (write(tmp_path, table()) / "scores.parquet").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 8)):
            data[place] = rng.integers(256)
        (tmp_path / "scores.parquet").write_bytes(data[: rng.integers(4, len(data) + 1)])
        with contextlib.suppress(SparsightError):
            read_scores([tmp_path], KNOWN)


def test_chosen_models(tmp_path: Path) -> None:
    place = write(tmp_path, table())
    with pytest.raises(SparsightError, match="no model 'c': known are a, b"):
        read_scores([place], KNOWN, models=["a", "c"])
    with pytest.raises(SparsightError, match="holds 1 model"):
        read_scores([place], KNOWN, models=["a"])


def test_a_model_that_one_data_set_lacks(tmp_path: Path) -> None:
    both = pandas.concat([table(), table(dataset=["sod"] * 4, model=["a", "c", "a", "c"])])
    with pytest.raises(
        SparsightError, match=r"no image of osie has scores of all 3 models \(there is none of c\)"
    ):
        read_scores([write(tmp_path, both)], KNOWN)


def test_kinds_of_other_metrics_are_kept() -> None:
    odd = [Metric("gsi", "odd"), Metric("auc", "fixations")]
    scores = make_scores(["d"] * 4, list("1122"), list("abab"), np.arange(8.0).reshape(4, 2), odd)
    assert scores.measures[0].truth == "odd"


def test_helper_makes_what_it_says() -> None:
    scores = scores_of(two_truths([0, 1], [1, 0], images=5))
    assert scores.values.shape == (5, 2, 6)


def test_several_tables_hold(tmp_path: Path) -> None:
    """Grammar: one table holds, two tables hold."""
    second = table(image=list("3344"))
    places = [write(tmp_path / "a", table()), write(tmp_path / "b", second)]
    for options, words in (
        ({"models": ["a"]}, r"^the 2 tables hold 1 model \(a\), and"),
        ({"models": ["z"]}, "^the 2 tables hold no model 'z'"),
        ({"prior": "other"}, "^the 2 tables hold no scores with prior"),
    ):
        with pytest.raises(SparsightError, match=words):
            read_scores(places, KNOWN, **options)
