"""Small data sets in the layouts that the official ones have, with fixations known beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from sparsight import media

HEIGHT, WIDTH = 30, 40

Points = NDArray[np.float64]


def picture(path: Path, seed: int = 0, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    if path.suffix == ".bmp":
        cv2.imwrite(str(path), image)
    else:
        media.write_image(path, image)


def mask(path: Path, box: tuple[int, int, int, int], shape: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    """White in ``box`` (rows from, to, columns from, to), black elsewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros(shape, np.uint8)
    values[box[0] : box[1], box[2] : box[3]] = 255
    media.write_image(path, values)


def points(count: int, seed: int) -> Points:
    """(count, 2) x and y of different pixels, in the order of rows, as a map of them gives them back."""
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(HEIGHT * WIDTH, count, replace=False))
    return np.stack([chosen % WIDTH, chosen // WIDTH], axis=1).astype(np.float64)


def marked(xy: Points) -> NDArray[np.uint8]:
    """A map with one at each point."""
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y = xy.astype(int).T
    values[y, x] = 1
    return values


def cells(*values: Any) -> NDArray[Any]:
    """A cell array of one column."""
    array = np.empty((len(values), 1), object)
    for index, value in enumerate(values):
        array[index, 0] = value
    return array


def struct_array(*records: dict[str, Any]) -> NDArray[Any]:
    """A struct array of one column."""
    array = np.empty((len(records), 1), [(name, object) for name in records[0]])
    for index, record in enumerate(records):
        array[index, 0] = tuple(record.values())
    return array


def osie(root: Path, looks: dict[str, list[Points]]) -> None:
    """``looks``: image → the fixations of each viewer."""
    for number, name in enumerate(looks):
        picture(root / "stimuli" / f"{name}.jpg", number)
    records = [
        {
            "img": f"{name}.jpg",
            "subjects": cells(
                *(
                    {"fix_x": xy[:, 0], "fix_y": xy[:, 1], "fix_duration": np.arange(len(xy)) * 100 + 100}
                    for xy in viewers
                )
            ),
        }
        for name, viewers in looks.items()
    ]
    (root / "eye").mkdir(parents=True, exist_ok=True)
    savemat(root / "eye" / "fixations.mat", {"fixations": cells(*records)})


def salicon(root: Path, part: str, looks: dict[str, list[Points]]) -> None:
    for number, (name, viewers) in enumerate(looks.items()):
        picture(root / "images" / part / f"{name}.jpg", number)
        gaze = struct_array(
            *(
                {"location": xy * 0.5, "timestamp": np.arange(len(xy)), "fixations": xy.astype(np.uint16) + 1}
                for xy in viewers
            )
        )
        folder = root / "fixations" / part
        folder.mkdir(parents=True, exist_ok=True)
        savemat(folder / f"{name}.mat", {"image": name, "resolution": [HEIGHT, WIDTH], "gaze": gaze})


def figrim(root: Path, targets: dict[str, list[Points]], fillers: dict[str, list[Points]]) -> None:
    for part, file, looks in (("Targets", "release", targets), ("Fillers", "fillers", fillers)):
        records = []
        for number, (name, viewers) in enumerate(looks.items()):
            picture(root / part / "barn" / f"{name}.jpg", number)
            people = [
                {
                    "trial": 7,
                    "SDT": np.array([4, 1, 1]),
                    "fixations": {"enc": xy, "rec": xy + 1, "rec2": np.zeros((0, 0))},
                }
                for xy in viewers
            ]
            absent = {"trial": np.zeros((0, 0)), "SDT": np.zeros((0, 0)), "fixations": np.zeros((0, 0))}
            record = {"filename": f"{name}.jpg", "category": "barn"}
            records.append({**record, "userdata": struct_array(*people, absent)})
        records.append(
            {"filename": "never_published.jpg", "category": "barn", "userdata": struct_array(absent)}
        )
        savemat(root / f"allImages_{file}.mat", {"allImages": struct_array(*records)})


def mit1003(root: Path, looks: dict[str, Points]) -> None:
    for number, (name, xy) in enumerate(looks.items()):
        media.write_image(
            _made(root / "ALLSTIMULI" / f"{name}.jpeg"),
            np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
        )
        media.write_image(_made(root / "ALLFIXATIONMAPS" / f"{name}_fixPts.jpg"), marked(xy) * 255)
        media.write_image(root / "ALLFIXATIONMAPS" / f"{name}_fixMap.jpg", marked(xy) * 200)


def cat2000(root: Path, looks: dict[str, Points]) -> None:
    """``looks``: "Category/001" → fixations."""
    for number, (name, xy) in enumerate(looks.items()):
        category, _, stem = name.partition("/")
        picture(root / "trainSet" / "Stimuli" / f"{name}.jpg", number)
        picture(root / "trainSet" / "Stimuli" / category / "Output" / f"{stem}_SaliencyMap.jpg", number)
        locations = root / "trainSet" / "FIXATIONLOCS" / f"{name}.mat"
        savemat(_made(locations), {"fixLocs": marked(xy)}, do_compression=True)


def toronto(root: Path, looks: list[Points]) -> None:
    inside = root / "eyetrackingdata" / "fixdens"
    for number in range(len(looks)):
        picture(inside / "Original Image Set" / f"{number + 1}.jpg", number)
    savemat(inside / "origfixdata.mat", {"white": cells(*map(marked, looks)).T})


def pascal_s(root: Path, looks: list[tuple[Points, NDArray[np.int64]]]) -> NDArray[Any]:
    """All but the fixations, which are returned as MATLAB's cell array of (y, x, viewer) from 1 on."""
    inside = root / "datasets"
    for number in range(len(looks)):
        picture(inside / "imgs" / "pascal" / f"{number + 1}.jpg", number)
        mask(inside / "masks" / "pascal" / f"{number + 1}.png", (2, 9, 3, 12))
    (inside / "fixations").mkdir()
    return cells(
        *(np.column_stack([xy[:, 1] + 1, xy[:, 0] + 1, subject + 1]).astype(float) for xy, subject in looks)
    )


def dut_omron(root: Path, looks: dict[str, tuple[Points, NDArray[np.int64]]]) -> None:
    for number, (name, (xy, subject)) in enumerate(looks.items()):
        picture(root / "DUT-OMRON-image" / f"{name}.jpg", number)
        mask(root / "pixelwiseGT-new-PNG" / f"{name}.png", (0, 5, 0, 5))
        table = np.vstack([[WIDTH, HEIGHT, 0], np.column_stack([xy, subject + 1])]).astype(np.uint16)
        savemat(_made(root / "DUT-OMRON-eye-fixations" / "mat" / f"{name}.mat"), {"s": table})


def odd_one_out(folder: Path, names: list[str], ending: str = ".png") -> None:
    """One part of P3, or O3."""
    for number, name in enumerate(names):
        picture(folder / "images" / f"{name}{ending}", number)
        mask(folder / "targ_images" / f"{name}.png", (2, 8, 2, 8))
        mask(folder / "dist_images" / f"{name}.png", (2, 8, 20, 26))


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
