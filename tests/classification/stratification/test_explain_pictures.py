"""Brain pictures. Oracles: scipy's filter undone by its sum, and the colours in the picture."""

import numpy as np
import pytest
from PIL import Image

from nnunet_ms.classification.stratification.explain_pictures import draw_brain, smoothed
from nnunet_ms.classification.stratification.preparation import target_grid

GRID = target_grid(8.0)


def made(signed):
    """A spot of the left hemisphere (and one of the opposite sign on the right)."""
    seen = np.zeros(GRID.shape, bool)
    seen[3:-3, 3:-3, 3:-3] = True
    relevance = np.zeros(GRID.shape, np.float32)
    relevance[5:8, 9:12, 10:13] = 5
    if signed:
        relevance[12:15, 9:12, 10:13] = -5
    return relevance, seen


def test_smoothing_keeps_the_sum_and_stays_where_something_was_seen():
    relevance, seen = made(signed=False)
    found = smoothed(relevance, seen, GRID)
    assert float(found.sum()) == pytest.approx(float(relevance.sum()), rel=1e-3)
    assert not found[~seen].any()
    assert found.max() < relevance.max()


@pytest.mark.parametrize("signed", [False, True])
def test_a_picture_has_the_spots_in_their_colours(tmp_path, signed):
    relevance, seen = made(signed)
    draw_brain(relevance, seen, GRID, "LRP of compact (global), all: n = 2", "Note.", tmp_path / "brain.png")
    pixels = np.asarray(Image.open(tmp_path / "brain.png").convert("RGB"), float)[:, : int(0.88 * 1650)]  # no scale
    red = ((pixels[..., 0] > pixels[..., 2] + 60) & (pixels[..., 1] < 150)).sum()
    blue = ((pixels[..., 2] > pixels[..., 0] + 60) & (pixels[..., 0] < 150)).sum()
    assert red > 1000
    assert (blue > 1000) == signed


def test_a_map_of_nothing_can_be_drawn(tmp_path):
    draw_brain(np.zeros(GRID.shape, np.float32), made(signed=False)[1], GRID, "None", "", tmp_path / "brain.png")
    assert (tmp_path / "brain.png").is_file()
