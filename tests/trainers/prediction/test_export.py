"""Oracles: resampling to the same grid changes nothing; NumPy's transposition; the weights of a quadrature."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.integrate import trapezoid

from nnunet_ms.images.volumes import read_grid, read_volume
from nnunet_ms.trainers.prediction.case_measures import Measuring
from nnunet_ms.trainers.prediction.export import ExportSettings, Spooled, export_case, export_spooled, spool
from nnunet_ms.trainers.prediction.image_cases import ImageCase
from nnunet_ms.trainers.prediction.tiles import Prediction
from tests.trainers.tiny_model import SHAPE

BOX = [[1, 9], [2, 22], [3, 19]]  # of the file's (z, y, x)


@pytest.fixture
def job(model_folder, image_folder, tmp_path):
    files = tuple(image_folder / f"a_1_{channel:04d}.nii.gz" for channel in range(3))
    image = nib.load(files[0])
    properties = {
        "spacing": [3.0, 1.0, 1.0],
        "sitk_stuff": {
            "spacing": (1.0, 1.0, 3.0),
            "origin": (-30.0, 20.0, 5.0),
            "direction": (1.0, 0, 0, 0, -1, 0, 0, 0, 1),
        },
        "bbox_used_for_cropping": BOX,
        "shape_before_cropping": image.shape[::-1],
        "shape_after_cropping_and_before_resampling": tuple(high - low for low, high in BOX),
    }
    plans = json.loads((Path(model_folder) / "plans.json").read_text())
    settings = ExportSettings(tmp_path / "out", plans, "3d_fullres", Measuring((("t2_lesions", 1),)), pictures=False)
    return ImageCase("a_1", files, "a"), read_grid(files[0]), properties, settings


def volume(samples, seed=0):
    shape = (samples, 1, *(high - low for low, high in BOX))
    return np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32)


def test_voxels_land_where_they_came_from(job):
    case, grid, properties, settings = job
    z = volume(3)
    export_case(Prediction(z), case, grid, properties, settings)
    whole = np.zeros(SHAPE)
    whole[3:19, 2:22, 1:9] = (1 / (1 + np.exp(-z[:, 0].astype(float)))).mean(0).transpose(2, 1, 0)
    assert np.allclose(read_volume(settings.out / "probability" / "a_1.nii.gz").data, whole, atol=1e-5)
    assert np.array_equal(read_volume(settings.out / "a_1.nii.gz").data, whole > 0.5)


def test_closed_form_gives_the_mean_of_the_normal_logit_and_no_structure(job):
    case, grid, properties, settings = job
    mean, spread = volume(1), np.abs(volume(1, 1)) / 3
    row = export_case(Prediction(mean, spread), case, grid, properties, settings)
    assert np.isnan(row["psu"])
    found = read_volume(settings.out / "probability" / "a_1.nii.gz").data[3:19, 2:22, 1:9].transpose(2, 1, 0)
    # Oracle: the integral of sigmoid times the normal density, by the trapezoidal rule.
    z = np.linspace(-8, 8, 2001)[:, None, None, None]
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    expected = trapezoid(density / (1 + np.exp(-(mean[0, 0] + z * spread[0, 0]))), z[:, 0, 0, 0], axis=0)
    assert np.abs(found - expected).max() < 3e-3  # 16 nodes: 5e-4 for spreads up to 3, 2e-3 at 4


def test_spooled_cases_are_exported_alike(job, tmp_path):
    case, grid, properties, settings = job
    prediction = Prediction(volume(2), None, volume(1, 2))
    expected = export_case(prediction, case, grid, properties, settings)
    spool(prediction, tmp_path / "a_1.npz")
    found = export_spooled(Spooled(case, grid, properties, tmp_path / "a_1.npz"), settings)
    assert found == pytest.approx(expected)
