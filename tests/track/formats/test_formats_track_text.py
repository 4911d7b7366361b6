from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight import SparsightError
from sparsight.track import formats
from sparsight.track.formats import Table
from sparsight.track.formats.pyppbox import format_map, read_map
from sparsight.track.formats.table import named

TAIL = "-1 -1 -1 -1000 -1000 -1000 -10"
GOOD = {
    "mot": "1,1,10.5,20,30,40,1,-1,-1,-1\n",
    "pyppbox": "0\t(25, 30)\tAnn Lee\t[10 20 30 40]\t[10 20 40 60]\n",
    "kitti": f"0 1 Pedestrian 0 0 -1.57 10.5 20 40.5 60 {TAIL}\n",
    "csv": "frame,id,x,y,w,h,score\n0,1,10.5,20,30,40,1\n",
}


@pytest.mark.parametrize("name", sorted(formats.FORMATS))
def test_told_from_the_first_line_and_comes_back_unchanged(tmp_path: Path, name: str) -> None:
    source = tmp_path / "source"
    source.write_text(GOOD[name])
    assert formats.guess(source) == name
    table = formats.read(source)
    assert table.frame.tolist() == [0]
    assert table.xywh[0, 1:].tolist() == [20, 30, 40]
    for through in sorted(formats.FORMATS):
        formats.convert(source, tmp_path / "there", through)
        assert len(formats.read(tmp_path / "there")) == 1
    done = formats.convert(source, tmp_path / "again", name)
    assert (done.rows, done.left_out, done.rounded) == (1, (), 0)
    assert (tmp_path / "again").read_text() == GOOD[name]


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        ("pyppbox", "0\t(25, 30)\tAnn\t[10 20 30]\t[10 20 40 60]\n", 1, "expected frame<TAB>"),
        ("pyppbox", GOOD["pyppbox"] + "\n1\t(25 30)\tAnn\t[1 2 3 4]\t[1 2 4 6]\n", 3, "found '1"),
        ("pyppbox", GOOD["pyppbox"] + "1\t(2, 3)\tAnn\tBob\t[1 2 3 4]\t[1 2 4 6]\n", 2, "expected one name"),
        ("pyppbox", "0\t(2, 3)\tAnn\t[1 2 -3 4]\t[1 2 4 6]\n", 1, "not negative"),
        ("pyppbox", "0\t(2, 3)\tAnn\t[1 2 3 4]\t[1 2 0 6]\n", 1, "x2 >= x1"),
        ("pyppbox", "0\t(2, 3)\tAnn\t[1 2 3 4]\t[2 2 4 6]\n", 1, "same x and y"),
        ("pyppbox", "0\t(2, 3)\tAnn\t[1 2 3 9999999999]\t[2 2 4 6]\n", 1, "expected frame<TAB>"),
        ("kitti", f"0 1 Pedestrian 0 0 0 10 20 40 {TAIL}\n", 1, "found 16 fields"),
        ("kitti", GOOD["kitti"] + GOOD["kitti"].strip() + " 0.5\n", 2, "expected 17 fields as before"),
        ("kitti", f"0 1 Pedestrian 0 0 0 10 20 nine 60 {TAIL}\n", 1, "finite numbers"),
        ("kitti", f"0 1 Pedestrian 0 0 0 10 20 5 60 {TAIL}\n", 1, "does not end before"),
        ("kitti", f"0.5 1 Pedestrian 0 0 0 10 20 50 60 {TAIL}\n", 1, "a frame number"),
        ("kitti", f"0 -2 Pedestrian 0 0 0 10 20 50 60 {TAIL}\n", 1, "an id"),
        ("csv", "frame,id,x,y,w\n0,1,2,3,4\n", 1, "a header with each of"),
        ("csv", "frame,id,x,y,w,h,h\n0,1,2,3,4,5,6\n", 1, "a header with each of"),
        ("csv", GOOD["csv"] + "0,1\n", 3, "expected 7 fields"),
        ("csv", GOOD["csv"] + "0,1,2,3,4,5,high\n", 3, "a finite number as score"),
        ("csv", GOOD["csv"] + "0,1,2,inf,4,5,1\n", 3, "a finite number as y"),
        ("csv", GOOD["csv"] + "-1,1,2,3,4,5,1\n", 3, "from 0 on as frame"),
        ("csv", GOOD["csv"] + "1,1.5,2,3,4,5,1\n", 3, "as id"),
        ("csv", GOOD["csv"] + "1,1,2,3,-4,5,1\n", 3, "not negative"),
        ("mot", GOOD["mot"] + "1,2,3,4,-5,6,1,-1,-1,-1\n", 2, "not negative"),
        ("mot", GOOD["mot"] + "1,2,3\n", 2, "at least 6 columns"),
    ],
)
def test_malformed_lines(tmp_path: Path, name: str, text: str, line: int, said: str) -> None:
    path = tmp_path / "file.txt"
    path.write_text(text)
    with pytest.raises(SparsightError) as error:
        formats.read(path, name)
    assert f"{path}, line {line}: " in str(error.value)
    assert said in str(error.value)
    assert str(error.value).count(". ") == 0


def test_what_is_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one two three\n")
    with pytest.raises(SparsightError, match="in no known format"):
        formats.read(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SparsightError, match="cannot be read"):
        formats.read(path)
    with pytest.raises(SparsightError, match="No such file"):
        formats.read(tmp_path / "none")
    with pytest.raises(SparsightError, match="did you mean 'mot'"):
        formats.convert(path, tmp_path / "target", "mott")
    for name in formats.FORMATS:
        path.write_text("" if name != "csv" else "frame,id,x,y,w,h\n")
        assert len(formats.read(path, name)) == 0


def test_columns_must_be_as_long() -> None:
    with pytest.raises(SparsightError, match="2 frame numbers but 1 values of id"):
        Table(np.zeros(2, np.int64), np.zeros(1, np.int64), np.zeros((2, 4)))
    with pytest.raises(SparsightError, match="1 values of score"):
        Table(np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros((2, 4)), {"score": np.ones(1)})


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text(GOOD["mot"])
    done = formats.convert(source, tmp_path / "target", "pyppbox")
    assert done.rounded == 1
    assert "score" in done.left_out
    assert (tmp_path / "target").read_text() == "0\t(25, 30)\t1\t[10 20 30 40]\t[10 20 40 60]\n"
    bad = Table(
        np.zeros(1, np.int64), np.ones(1, np.int64), np.ones((1, 4)), {"name": np.array(["a\tb"], object)}
    )
    with pytest.raises(SparsightError, match="tab"):
        formats.write(tmp_path / "target", bad, "pyppbox")
    assert (tmp_path / "target").read_text().startswith("0\t(25")


def test_names_become_identities() -> None:
    assert named(np.array(["Bob", "Ann", "Unknown", "Bob"], object)).tolist() == [1, 2, -1, 1]
    assert named(np.array(["7", "12", "Unknown"], object)).tolist() == [7, 12, -1]
    assert named(np.array([], object)).tolist() == []


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.integers(-1, 10**9),
            *[st.integers(-(10**7), 10**7).map(lambda n: n / 1000)] * 2,
            *[st.integers(0, 10**7).map(lambda n: n / 1000)] * 2,
            st.integers(0, 1000).map(lambda n: n / 1000),
        ),
        max_size=20,
    ),
    path=st.permutations(("mot", "kitti", "csv", "mot", "kitti")),
)
def test_numbers_survive_any_way_through_the_formats(
    rows: list[tuple[float, ...]], path: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = np.array(rows, float).reshape(-1, 7)
    folder = tmp_path_factory.mktemp("formats")
    table = Table(
        values[:, 0].astype(np.int64), values[:, 1].astype(np.int64), values[:, 2:6], {"score": values[:, 6]}
    )
    for step, name in enumerate(path):
        formats.write(folder / str(step), table, name)
        table = formats.read(folder / str(step), name)
    assert table.frame.tolist() == values[:, 0].tolist()
    assert table.id.tolist() == values[:, 1].tolist()
    np.testing.assert_allclose(table.xywh, values[:, 2:6], rtol=0, atol=1e-8)
    if len(values):
        assert table.columns["score"].tolist() == values[:, 6].tolist()


def test_gt_map(tmp_path: Path) -> None:
    path = tmp_path / "gt_map.txt"
    path.write_text("gta.mp4:gta.mp4.txt\n\nC:/day.mp4:day.txt\n")
    assert read_map(path) == {"gta.mp4": tmp_path / "gta.mp4.txt", "C:/day.mp4": tmp_path / "day.txt"}
    assert format_map({"gta.mp4": "gta.mp4.txt"}) == "gta.mp4:gta.mp4.txt\n"
    for text, said in (
        ("nothing\n", "line 1: expected video:file"),
        ("a:b\na:c\n", "line 2: a has"),
        ("a:\n", "line 1"),
    ):
        path.write_text(text)
        with pytest.raises(SparsightError, match=said):
            read_map(path)
