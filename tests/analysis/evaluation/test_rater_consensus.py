"""Consensus of raters. Oracles: votes by hand; simulated raters whose error rates are known."""

import numpy as np
import pytest

from nnunet_ms.analysis.evaluation.rater_consensus import majority, staple
from tests.lesions.naive_matching import volume

# seven raters of MSSEG-like quality: share of lesion voxels marked, share of other voxels left
SENSITIVITY = {"A": 0.95, "B": 0.9, "C": 0.85, "D": 0.8, "E": 0.75, "F": 0.7, "G": 0.6}
SPECIFICITY = {"A": 0.9995, "B": 0.999, "C": 0.9985, "D": 0.998, "E": 0.9995, "F": 0.997, "G": 0.9999}
SHAPE = (24, 24, 12)


def truth_of(generator):
    """A few balls, as lesions are: 1 to 5 % of the image."""
    places = np.indices(SHAPE)
    mask = np.zeros(SHAPE, bool)
    for _ in range(generator.integers(4, 12)):
        centre = [generator.integers(2, n - 3) for n in SHAPE]
        mask |= sum((axis - at) ** 2 for axis, at in zip(places, centre, strict=True)) <= generator.integers(1, 4) ** 2
    return mask


def drawn_by(rater, truth, generator):
    return np.where(truth, generator.random(SHAPE) < SENSITIVITY[rater], generator.random(SHAPE) > SPECIFICITY[rater])


@pytest.fixture(scope="module")
def estimated():
    """Truth and STAPLE of 28 cases."""
    generator, cases = np.random.default_rng(2016), []
    for _ in range(28):
        truth = truth_of(generator)
        cases.append((truth, staple({rater: volume(drawn_by(rater, truth, generator)) for rater in SENSITIVITY})))
    return cases


def test_staple_recovers_the_known_error_rates(estimated):
    # Oracle: the rates that the raters were simulated with. A rater's mean over 28 cases of about 200 lesion and 6,700
    # other voxels has a standard error of about 0.006 and 0.0001; the tolerance is three times that, rounded up.
    for rater in SENSITIVITY:
        sensitivity = np.mean([found.sensitivity[rater] for _, found in estimated])
        specificity = np.mean([found.specificity[rater] for _, found in estimated])
        assert sensitivity == pytest.approx(SENSITIVITY[rater], abs=0.02), rater
        assert specificity == pytest.approx(SPECIFICITY[rater], abs=0.0005), rater


def test_staple_finds_the_truth_behind_the_raters(estimated):
    dice = [2 * (t & (f.mask.data > 0)).sum() / (t.sum() + f.mask.data.sum()) for t, f in estimated]
    assert min(dice) > 0.95  # the best rater alone has 0.96 on average
    assert np.mean(dice) > 0.98


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([(1,), (0,)], (0,)),  # two raters, a tie
        ([(1, 1), (1, 0)], (1, 0)),  # both
        ([(1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 0)], (1, 0, 0, 0)),
        ([(1, 1, 0), (1, 1, 0), (1, 0, 0), (1, 0, 1)], (1, 0, 0)),  # four raters: two of four are no majority
        ([(1, 1), (1, 1), (1, 0), (0, 0), (0, 0)], (1, 0)),
        ([(1, 0)], (1, 0)),  # one rater is his own majority
    ],
)
def test_the_majority_by_hand(votes, expected):
    masks = {f"R{i}": volume(np.array(row).reshape(-1, 1, 1)) for i, row in enumerate(votes)}
    assert majority(masks).data.ravel().tolist() == list(expected)


def test_the_voxels_of_the_brain_alone_count():
    # Oracle: STAPLE of the brain cut out as an image of its own; a voxel outside is lesion for nobody.
    generator = np.random.default_rng(5)
    truth = truth_of(generator)
    masks = {rater: drawn_by(rater, truth, generator) for rater in "ADG"}
    brain = np.zeros(SHAPE, bool)
    brain[3:20, 4:22, 1:11] = True
    inside = staple({rater: volume(mask) for rater, mask in masks.items()}, brain)
    cut = staple({rater: volume(mask[3:20, 4:22, 1:11]) for rater, mask in masks.items()})
    assert inside.sensitivity == pytest.approx(cut.sensitivity)
    assert inside.specificity == pytest.approx(cut.specificity)
    assert np.array_equal(inside.mask.data[3:20, 4:22, 1:11], cut.mask.data)
    assert not inside.mask.data[~brain].any()


def test_raters_who_mark_nothing_have_no_rates_and_an_empty_consensus():
    empty = {rater: volume(np.zeros((4, 4, 4))) for rater in "AB"}
    found = staple(empty)
    assert np.isnan([*found.sensitivity.values(), *found.specificity.values()]).all()
    assert not found.mask.data.any()
    assert not majority(empty).data.any()


@pytest.mark.parametrize("brain", [None, "half"])
@pytest.mark.parametrize("raters", ["AB", "ABC"])
def test_raters_who_mark_everything_agree_on_it(raters, brain):
    inside = np.zeros((4, 4, 4), bool)
    inside[:2] = True
    full = {rater: volume(np.ones((4, 4, 4)) if brain is None else inside) for rater in raters}
    found = staple(full, None if brain is None else inside)
    assert np.array_equal(found.mask.data, majority(full).data)
    assert set(found.sensitivity.values()) == {1.0}
    assert np.isnan([*found.specificity.values()]).all()
