"""Pictures of lesions: which ones, what their captions say, and what is drawn."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from nnunet_ms.classification.rim import mosaics
from nnunet_ms.classification.rim.mosaics import caption_of, certain, draw_mosaic, portrait_of
from nnunet_ms.images.volumes import Grid

GRID = Grid((30, 40, 20), np.diag([-1.0, 1.0, 2.0, 1.0]))


def portrait(flair=True):
    qsm, mask = np.zeros(GRID.shape, np.float32), np.zeros(GRID.shape, bool)
    mask[14:18, 20:24, 8:11] = True
    qsm[mask] = 400
    return portrait_of(GRID, qsm, np.ones(GRID.shape, np.float32) if flair else None, mask, "P1\np 0.9")


@pytest.mark.parametrize(
    ("probability", "count", "most", "least"),
    [
        ([0.9, 0.1, 0.45, 0.6, 0.2], 4, [0, 3, 1, 4], [2, 3, 4, 0]),
        ([0.9, 0.1], 6, [0, 1], [0, 1]),
        ([0.5, 0.5, 0.5], 2, [0, 2], [0, 1]),
        ([0.7], 3, [0], [0]),
        ([], 3, [], []),
        ([0.9, 0.1], 0, [], []),
    ],
)
def test_the_most_and_the_least_certain(probability, count, most, least):
    rows = pd.DataFrame({"probability": np.array(probability, dtype=float), "threshold": 0.5})
    assert certain(rows, count) == (most, least)


@pytest.mark.parametrize(("label", "known"), [(1.0, "label rim+"), (0.0, "label rim-"), (np.nan, "no label")])
def test_captions(label, known):
    row = {"patient_id": "7", "visit": "w0", "lesion_id": 2, "probability": 0.126, "rim": 0, "label": label}
    assert caption_of(pd.Series(row)) == f"7 w0, lesion 2\np 0.13: rim- ({known})"


def test_what_is_cut_out_lies_where_it_lay():
    cut = portrait()
    assert cut.mask.sum() == 4 * 4 * 3
    assert cut.mask.shape == (4 + 20, 4 + 20, 3 + 10)
    middle = np.argwhere(cut.mask).mean(axis=0)
    assert np.allclose(cut.grid.to_world(middle[None])[0], [-15.5, 21.5, 18])
    at_the_edge = np.zeros(GRID.shape, bool)
    at_the_edge[0, 0, 0] = True
    assert portrait_of(GRID, np.zeros(GRID.shape, np.float32), None, at_the_edge, "").mask.shape == (11, 11, 6)


def test_both_images_are_drawn_in_their_windows_and_outlined(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(mosaics, "Figure", lambda **how: figures.append(Figure(**how)) or figures[-1])
    draw_mosaic([portrait(), portrait(flair=False), *[portrait()] * 3], "Five lesions", tmp_path / "five.png")
    (figure,) = figures
    panels = figure.axes
    assert len(panels) == 16  # two rows of four pairs
    left, right, without = panels[0], panels[1], panels[3]
    assert left.images[0].get_clim() == (-150, 150)
    assert right.images[0].get_clim() == (-2, 4)
    assert [len(axes.collections) for axes in (left, right)] == [1, 1]
    assert left.get_title() == "P1\np 0.9" or left.get_title(loc="left") == "P1\np 0.9"
    assert not without.images
    assert without.texts[0].get_text() == "no FLAIR"
    assert imread(tmp_path / "five.png").std() > 0
