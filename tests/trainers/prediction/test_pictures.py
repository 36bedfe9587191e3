"""The picture is looked at by eye; here: which slices, and that unusual cases can be drawn."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.images.volumes import Grid
from nnunet_ms.trainers.prediction.pictures import choose_slices, draw_mosaic

SHAPE = (16, 20, 9)
GRID = Grid(SHAPE, np.diag([-1.0, 1.0, 3.0, 1.0]))
COLUMNS = ["x_mm", "y_mm", "z_mm", "volume_ml", "uncertainty"]


def test_slices_with_most_lesion_and_uncertainty_are_chosen():
    mask, entropy = np.zeros(SHAPE, bool), np.zeros(SHAPE, np.float32)
    mask[2:8, 2:8, 3] = True
    entropy[0:4, 0:4, 7] = 0.69
    assert {3, 7} <= set(choose_slices(mask, entropy))
    assert choose_slices(mask, entropy, 2) == [3, 7]
    assert len(choose_slices(mask[:, :, :2], entropy[:, :, :2])) == 2


@pytest.mark.parametrize("lesions", [0, 1])
def test_mosaic_is_drawn_with_and_without_lesions(tmp_path, lesions):
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 4:9, 4] = lesions
    rows = pd.DataFrame([[-5.5, 6.0, 12.0, 0.06, 0.4]] * lesions, columns=COLUMNS)
    image = np.random.default_rng(0).normal(100, 10, SHAPE)
    paths = [tmp_path / f"{n}.png" for n in "ab"]
    for path in paths:
        draw_mosaic(path, image, labels, 0.3 * labels.astype(np.float32), rows, GRID, "case", "10 samples")
    assert matplotlib.image.imread(paths[0]).std() > 0.05
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_image_of_one_value_can_be_drawn(tmp_path):
    empty = np.zeros(SHAPE, np.float32)
    draw_mosaic(
        tmp_path / "e.png", empty, empty.astype(np.uint8), empty, pd.DataFrame(columns=COLUMNS), GRID, "case", ""
    )
    assert (tmp_path / "e.png").is_file()
