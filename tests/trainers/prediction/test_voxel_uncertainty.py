"""Oracles: the definitions with numpy in double precision, and inequalities of information theory."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_ms.trainers.prediction.voxel_uncertainty import (
    MEASURES,
    PARTS,
    VarianceParts,
    VoxelUncertainty,
    binary_entropy,
    outside,
)

DISAGREEMENT = ("mutual_information", "epkl", "rmi", "variance")


def uncertainty_of(samples, weights=None):
    sums = VoxelUncertainty(samples.shape[1:])
    for number, sample in enumerate(samples):
        sums.add(torch.from_numpy(sample), 1.0 if weights is None else weights[number])
    return sums


def logits(samples=10, voxels=500, seed=0, scale=3.0):
    return np.random.default_rng(seed).normal(0, scale, (samples, voxels)).astype(np.float32)


def test_measures_equal_their_definitions():
    z = logits()
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    mean = p.mean(0)

    def entropy(q):
        return -(q * np.log(q) + (1 - q) * np.log(1 - q))

    expected = entropy(p).mean(0)
    epkl = -(mean * np.log(p).mean(0) + (1 - mean) * np.log(1 - p).mean(0)) - expected
    definitions = {
        "entropy": entropy(mean),
        "expected_entropy": expected,
        "mutual_information": entropy(mean) - expected,
        "epkl": epkl,
        "rmi": epkl - (entropy(mean) - expected),
        "variance": p.var(0),
        "negated_confidence": -np.maximum(mean, 1 - mean),
    }
    sums = uncertainty_of(z)
    assert np.allclose(sums.mean(), mean, atol=1e-6)
    found = sums.measures()
    assert list(found) == list(MEASURES) == list(definitions)
    for name, value in definitions.items():
        assert np.allclose(found[name], value, atol=2e-6), name


def test_epkl_is_the_mean_divergence_of_all_pairs():
    # Oracle: the name; all ordered pairs of samples, each with itself included, as in its definition.
    z = logits(samples=4, voxels=20)
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    pairs = [a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b)) for a in p for b in p]
    assert np.allclose(uncertainty_of(z).measures()["epkl"], np.mean(pairs, axis=0), atol=1e-5)


@pytest.mark.parametrize("samples", [1, 10])
def test_equal_samples_do_not_disagree(samples):
    measures = uncertainty_of(np.repeat(logits(1), samples, axis=0)).measures()
    for name in DISAGREEMENT:
        assert np.abs(measures[name]).max() < 1e-6, name


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 8), st.floats(0.1, 20))
def test_inequalities(seed, samples, scale):
    measures = uncertainty_of(logits(samples, 50, seed, scale)).measures()
    assert (measures["mutual_information"] >= 0).all()
    assert (measures["mutual_information"] <= measures["entropy"] + 1e-6).all()
    assert (measures["entropy"] <= np.log(2) + 1e-6).all()
    assert (measures["epkl"] >= measures["mutual_information"]).all()
    assert (measures["variance"] <= 0.25 + 1e-6).all()


def test_order_of_samples_does_not_matter():
    z = logits()
    forward, backward = uncertainty_of(z).measures(), uncertainty_of(z[::-1].copy()).measures()
    for name in MEASURES:
        assert np.allclose(forward[name], backward[name], atol=1e-6)


def test_weights_count_as_repetitions():
    z = logits(3)
    weighted = uncertainty_of(z, [1.0, 2.0, 3.0]).measures()
    repeated = uncertainty_of(z[[0, 1, 1, 2, 2, 2]]).measures()
    for name in MEASURES:
        assert np.allclose(weighted[name], repeated[name], atol=1e-6)


def test_parts_of_the_variance_are_those_of_an_analysis_of_variance():
    # Oracle: means of groups by pandas, on numbers of samples that are not equal; and the parts' sum is the variance.
    z = logits(13, 40)
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    folds, flips = np.repeat([0, 1], [8, 5]), np.r_[np.arange(8) % 3, np.arange(5) % 3]
    parts = VarianceParts((40,))
    for sample, fold, flip in zip(p, folds, flips, strict=True):
        parts.add(torch.from_numpy(sample.astype(np.float32)), int(fold), int(flip))
    frame = pd.DataFrame(p)
    of_folds = frame.groupby(folds).transform("mean").to_numpy()
    of_flips = frame.groupby([folds, flips]).transform("mean").to_numpy()
    expected = (of_folds.var(0), (of_flips - of_folds).var(0), (p - of_flips).var(0))
    found = parts.parts()
    assert list(found) == list(PARTS)
    for name, value in zip(PARTS, expected, strict=True):
        assert np.allclose(found[name], value, atol=1e-6), name
    assert np.allclose(sum(found.values()), p.var(0), atol=1e-6)


def test_confident_logits_stay_finite():
    measures = uncertainty_of(np.array([[-80.0, 80.0, 80.0], [-80.0, 80.0, -80.0]], np.float32)).measures()
    assert all(np.isfinite(value).all() for value in measures.values())
    assert measures["entropy"].tolist() == pytest.approx([0, 0, np.log(2)], abs=1e-6)
    assert measures["epkl"][2] == pytest.approx(40, rel=1e-5)  # the mean divergence of two sure, opposite samples


def test_entropy_of_certainty_is_zero_and_its_background_too():
    assert binary_entropy(torch.tensor([0.0, 1.0, 0.5])).tolist() == pytest.approx([0, 0, np.log(2)])
    empty = uncertainty_of(np.full((3, 1), -200.0, np.float32)).measures()
    assert {name: value.item() for name, value in empty.items()} == pytest.approx({n: outside(n) for n in MEASURES})
