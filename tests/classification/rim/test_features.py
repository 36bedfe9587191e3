"""Radiomic features against frozen values of PyRadiomics 3.0.1, PyWavelets, and what is known without either."""

import csv
from pathlib import Path

import numpy as np
import pytest
import pywt

from nnunet_ms.classification.rim import feature_texture, features
from nnunet_ms.classification.rim.features import IMAGES, feature_names, rim_features
from nnunet_ms.errors import ImageError
from tests.classification.rim.made_up_lesions import made_up_lesions

LESIONS = made_up_lesions()
TABLE = Path(__file__).parent / "pyradiomics_3.0.1.csv"
# What a wavelet leaves of a constant is 1e-14 in PyRadiomics, of either sign, and its skewness -1 or 1. Ours is 0.
NOISE_OF_A_CONSTANT = {
    f"wavelet-{band}_firstorder_{name}" for band in ("LHL", "HHL") for name in ("Kurtosis", "Skewness")
}


@pytest.fixture(scope="module")
def reference():
    """Values by lesion and feature."""
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: {row["feature"]: float(row[name]) for row in rows} for name in LESIONS}


def test_names_are_those_of_pyradiomics_without_sum_average(reference):
    # 536 of PyRadiomics with the released settings, less one feature of each of nine images
    theirs = [name for name in reference["ball"] if not name.endswith("_SumAverage")]
    assert len(reference["ball"]) == 536
    assert len(theirs) == len(feature_names()) == 14 + 9 * (18 + 23 + 16)
    assert set(feature_names()) == set(theirs)


@pytest.mark.parametrize("name", LESIONS)
def test_values_are_those_of_pyradiomics(name, reference):
    found = rim_features(*LESIONS[name])
    assert tuple(found) == feature_names()
    excused = NOISE_OF_A_CONSTANT if name == "constant" else set()
    for feature, value in found.items():
        if feature not in excused:
            assert value == pytest.approx(reference[name][feature], rel=1e-8, abs=1e-8), feature
    assert {found[feature] for feature in excused} <= {0.0}


@pytest.mark.parametrize("shape", [(12, 14, 16), (11, 13, 9), (6, 7, 5), (3, 4, 2)])
def test_sub_bands_are_those_of_pywavelets(shape):
    values = np.random.default_rng(0).normal(0, 100, shape)
    found = features._wavelets(values, np.ones(shape, dtype=bool))
    even = np.pad(values, [(0, n % 2) for n in shape], "wrap")
    theirs = pywt.swtn(even, "coif1", level=1, start_level=0)[0]
    for name, band in zip(IMAGES[1:], found, strict=True):
        key = name.removeprefix("wavelet-").replace("L", "a").replace("H", "d")
        assert np.abs(band.reshape(shape) - theirs[key][tuple(map(slice, shape))]).max() < 1e-9


def test_a_box_with_a_margin_has_the_features_of_the_whole_image():
    qsm, mask, spacing = LESIONS["big"]
    inside = np.argwhere(mask)
    box = tuple(slice(a - 3, b + 4) for a, b in zip(inside.min(0), inside.max(0), strict=True))
    whole, part = rim_features(qsm, mask, spacing), rim_features(qsm[box], mask[box], spacing)
    assert part == pytest.approx(whole, rel=1e-12)


def test_a_lesion_turned_by_quarter_turns_keeps_all_but_its_directions():
    # turned in the plane of X and Y: H along X becomes H along Y, rows become columns; the filters look one way
    qsm, mask, spacing = LESIONS["ball"]
    here, there = rim_features(qsm, mask, spacing), rim_features(qsm.swapaxes(0, 1), mask.swapaxes(0, 1), spacing)
    swapped = {"Row": "Column", "Column": "Row"}
    for name, value in here.items():
        if name.startswith("wavelet-"):
            name = f"wavelet-{name[9]}{name[8]}{name[10:]}"
        for old, new in swapped.items():
            if name.endswith(f"Diameter{old}"):
                name = name.removesuffix(old) + new
                break
        if not name.startswith("original_shape_S") and "Mesh" not in name:  # ambiguous cubes know left from right
            assert there[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, m, s: (q / 1000, m, s), "expected ppb, found magnitudes of at most 0.0.*as in ppm.*Multiply"),
        (lambda q, m, s: (q * np.nan, m, s), "found 10648 voxels .* NaN or infinite"),
        (lambda q, m, s: (np.where(m, q, np.inf), m, s), "NaN or infinite"),
        (lambda q, m, s: (q, m * 0, s), "at least two directions, found none"),
        (lambda q, m, s: (q, _only(m, [(11, 11, 11)]), s), "found one voxel"),
        (lambda q, m, s: (q, _only(m, [(9, 9, 9), (9, 9, 10), (9, 9, 11)]), s), "found a row of 3 voxels"),
        (lambda q, m, s: (q, _only(m, [(9, 9, 9), (11, 12, 9)]), s), "voxels that touch each other, found none"),
        (lambda q, m, s: (q[1:], m, s), r"one shape \(X, Y, Z\), found \(21, 22, 22\) and \(22, 22, 22\)"),
        (lambda q, m, s: (q[0], m[0], s), "expected QSM and mask of one shape"),
        (lambda q, m, s: (q, m, (1.0, 1.0)), "spacing_mm: expected three lengths > 0"),
        (lambda q, m, s: (q, m, (1.0, 0.0, 1.0)), "spacing_mm: expected three lengths > 0"),
        (lambda q, m, s: (q * 1e5, m, s), "with a range below 50000, found one of"),
    ],
    ids=[
        "ppm",
        "nan",
        "infinite",
        "empty",
        "voxel",
        "row",
        "apart",
        "shapes",
        "plane",
        "two_lengths",
        "no_length",
        "huge",
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(change, message):
    with pytest.raises(ImageError, match=message):
        rim_features(*change(*LESIONS["ball"]))


def _only(mask, places):
    found = np.zeros_like(mask)
    found[tuple(np.transpose(places))] = True
    return found


def test_many_levels_are_taken_direction_by_direction(monkeypatch):
    qsm, mask, spacing = LESIONS["ball"]
    whole = rim_features(qsm * 10, mask, spacing)
    monkeypatch.setattr(feature_texture, "_AT_ONCE", 1000)  # less than two directions of 40 levels
    assert rim_features(qsm * 10, mask, spacing) == pytest.approx(whole, rel=1e-12)


def test_the_made_up_lesions_have_every_cube_of_the_mesh():
    mask = np.pad(LESIONS["every_cube"][1], 1)
    sides = (slice(None, -1), slice(1, None))
    corners = np.stack([mask[x, y, z].ravel() for x in sides for y in sides for z in sides])
    assert len(np.unique(corners, axis=1).T) == 256
