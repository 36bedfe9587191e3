"""Shells of lesions by a second plain implementation and by geometry; decisions of lesions with known rims."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from nnunet_ms.errors import OptionError
from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.lesions.confluent import Splitting
from nnunet_ms.lesions.labelling import find_lesions, lesions_of_labels
from nnunet_ms.lesions.rims import CORE, RIM, RimDecision, lesion_parts, rim_scores, rims_of_lesions, shell_of


def ball(shape, centre, radius, spacing=(1.0, 1.0, 1.0)):
    places = np.indices(shape).reshape(3, -1).T * spacing
    return (np.linalg.norm(places - np.multiply(centre, spacing), axis=1) <= radius).reshape(shape)


def plain_shell(lesions, spacing, thickness):
    """Oracle: every pair of voxels, by the definition."""
    shape = lesions.shape
    out = np.zeros(shape, bool)
    padded = np.pad(lesions, 1)
    everywhere = np.array(list(product(*(range(-1, n + 1) for n in shape))))
    reach = max(thickness, min(spacing)) * (1 + 1e-6)
    for place in np.argwhere(lesions > 0):
        other = padded[tuple((everywhere + 1).T)] != lesions[tuple(place)]
        distances = np.linalg.norm((everywhere[other] - place) * spacing, axis=1)
        out[tuple(place)] = distances.min() <= reach
    return out


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.75, 0.75, 3.0), (1.0, 1.2, 2.0)])
@pytest.mark.parametrize("thickness", [0.3, 1.5, 2.5])
def test_shell_is_what_lies_within_the_thickness_of_the_border(spacing, thickness):
    rng = np.random.default_rng(3)
    lesions = np.zeros((9, 8, 5), np.uint8)
    lesions[0:4, 1:7, 0:4] = 1  # at the border of the image
    lesions[4:8, 2:7, 1:5] = 2  # touches the first
    lesions[rng.random(lesions.shape) < 0.05] = 0
    assert np.array_equal(shell_of(lesions, spacing, thickness), plain_shell(lesions, spacing, thickness))


def test_shell_of_thick_slices_lies_in_the_slice():
    shell = shell_of(ball((15, 15, 5), (7, 7, 2), 6.0, (1, 1, 3)), (1.0, 1.0, 3.0))
    assert not shell[7, 7, 1:4].any()  # above and below lie other slices, 3 mm away
    assert shell[1, 7, 2]


@pytest.mark.parametrize("thickness", [0.0, -1.0, float("nan"), float("inf")])
def test_thickness_must_be_a_length(thickness):
    with pytest.raises(OptionError, match="thickness_mm: expected a number > 0"):
        shell_of(np.ones((3, 3, 3)), (1.0, 1.0, 1.0), thickness)


def test_labels_per_lesion_become_core_and_rim():
    lesions = ball((24, 14, 14), (6, 6, 6), 5.0).astype(np.uint8) + 2 * ball((24, 14, 14), (18, 6, 6), 4.0)
    rims = rims_of_lesions(lesions, [2], (1.0, 1.0, 1.0))
    assert (rims[lesions == 1] == CORE).all()
    assert set(np.unique(rims[lesions == 2])) == {CORE, RIM}
    assert np.array_equal(rims == RIM, shell_of(lesions == 2, (1.0, 1.0, 1.0)))
    assert (rims_of_lesions(lesions, [], (1.0, 1.0, 1.0)) == (lesions > 0)).all()


def find(mask, spacing=(1.0, 1.0, 1.0)):
    return find_lesions(Volume(mask, Grid(mask.shape, np.diag([*spacing, 1.0])), Path("mask")))


def test_score_is_the_mean_probability_of_the_shell_and_share_what_is_segmented():
    mask = ball((30, 15, 15), (7, 7, 7), 5.0) | ball((30, 15, 15), (21, 7, 7), 5.0)
    shell = shell_of(mask, (1.0, 1.0, 1.0))
    half = shell & (np.indices(mask.shape)[0] < 7)  # half of the first lesion's shell, by symmetry about x = 7
    p = np.where(half, 0.8, 0.1)
    found = rim_scores(find(mask), p, half)
    first = shell & (np.indices(mask.shape)[0] < 14)
    share = half.sum() / first.sum()
    assert found.share == pytest.approx([share, 0.0])
    assert found.score == pytest.approx([share * 0.8 + (1 - share) * 0.1, 0.1])
    assert found.rim.tolist() == [False, False]
    assert rim_scores(find(mask), p, half, RimDecision(threshold=0.35)).rim.tolist() == [True, False]


@pytest.mark.parametrize(
    ("where", "expected"),
    [("whole", True), ("two thirds", True), ("a third", False), ("core", False), ("nothing", False), ("around", False)],
)
def test_decision_follows_how_much_of_the_shell_is_rim(where, expected):
    mask = ball((17, 17, 17), (8, 8, 8), 6.0)
    shell = shell_of(mask, (1.0, 1.0, 1.0))
    x = np.indices(mask.shape)[0]
    rim = {
        "whole": shell,
        "two thirds": shell & (x < 11),
        "a third": shell & (x < 6),
        "core": mask & ~shell,
        "nothing": np.zeros_like(mask),
        "around": ball((17, 17, 17), (8, 8, 8), 7.5) & ~mask,
    }[where]
    assert bool(rim_scores(find(mask), rim.astype(float), rim).rim[0]) is expected


def test_no_lesion_no_row_and_one_voxel_is_its_own_shell():
    empty = rim_scores(find(np.zeros((5, 5, 5), bool)), np.zeros((5, 5, 5)), np.zeros((5, 5, 5)))
    assert empty.score.shape == empty.share.shape == empty.rim.shape == (0,)
    one = np.zeros((5, 5, 5), bool)
    one[2, 2, 2] = True
    assert rim_scores(find(one), one.astype(float), one).score.tolist() == [1.0]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, float("nan")])
def test_threshold_lies_between_0_and_1(threshold):
    with pytest.raises(OptionError, match="rim_threshold: expected 0 < t < 1"):
        RimDecision(threshold=threshold)


# confluent lesions ---------------------------------------------------------------------------------------------------


def confluent(centres, radius=6.0, shape=(56, 28, 28)):
    """Balls of 6 mm that touch, as one mask of 1 mm voxels; and the number of the ball that each voxel is nearest."""
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    distances = np.stack([np.linalg.norm(places - np.array(c), axis=-1) for c in centres])
    mask = distances.min(axis=0) <= radius
    return mask, np.where(mask, distances.argmin(axis=0) + 1, 0)


CHAINS = {
    "two": [(10, 14, 14), (20, 14, 14)],
    "three in a row": [(10, 14, 14), (20, 14, 14), (30, 14, 14)],
    "along a diagonal": [(10, 10, 14), (18, 18, 14)],
    "two and one apart": [(10, 14, 14), (20, 14, 14), (44, 14, 14)],
    "one": [(14, 14, 14)],
}


def found_lesions(mask):
    return find_lesions(Volume(mask.astype(np.uint8), Grid(mask.shape, np.eye(4)), Path("mask.nii.gz")))


@pytest.mark.parametrize("centres", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("with_rim", [1, 2, 3])
def test_each_part_of_a_confluent_lesion_is_decided_on(centres, with_rim):
    # Oracle: the balls that the mask was made of; one of them has a rim where it does not meet another.
    mask, ball = confluent(centres)
    with_rim = min(with_rim, len(centres))
    rim = shell_of(mask, (1.0, 1.0, 1.0)) & (ball == with_rim)
    lesions = found_lesions(mask)
    parts, owner = lesion_parts(lesions, Splitting())
    assert parts.count == len(centres)
    assert owner.tolist() == sorted(owner.tolist())
    assert np.bincount(owner, parts.voxels).tolist() == lesions.voxels.tolist()
    scores = rim_scores(parts, rim.astype(float), rim, whole=lesions)
    nearest = [ball[tuple(np.rint(place).astype(int))] for place in parts.centroid_mm]
    assert sorted(nearest) == list(range(1, len(centres) + 1))
    assert [bool(decided) for decided in scores.rim] == [number == with_rim for number in nearest]
    assert scores.score[nearest.index(with_rim)] > 0.9  # the line between two balls is a voxel wide
    assert np.delete(scores.score, nearest.index(with_rim)) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("centres", [chain for name, chain in CHAINS.items() if name != "one"])
def test_a_confluent_lesion_as_one_may_hide_its_rim(centres):
    mask, ball = confluent(centres)
    rim = shell_of(mask, (1.0, 1.0, 1.0)) & (ball == 1)
    lesions = found_lesions(mask)
    parts, owner = lesion_parts(lesions, None)
    assert parts.voxels.tolist() == lesions.voxels.tolist()
    assert owner.tolist() == list(range(lesions.count))
    whole = rim_scores(parts, rim.astype(float), rim, whole=lesions)
    same = rim_scores(lesions, rim.astype(float), rim)
    assert whole.score.tolist() == same.score.tolist()
    assert whole.score.max() < 0.6


def test_a_part_within_the_others_is_judged_by_its_own_shell():
    outer = np.zeros((11, 11, 11), np.uint8)
    outer[1:10, 1:10, 1:10] = 1
    numbers = outer.copy()
    numbers[4:7, 4:7, 4:7] = 2
    parts = lesions_of_labels(Volume(numbers, Grid(numbers.shape, np.eye(4)), Path("parts")))[1]
    rim = (numbers == 2).astype(float)
    score = rim_scores(parts, rim, rim, RimDecision(shell_mm=1.0), whole=found_lesions(outer)).score
    assert score.tolist() == [0.0, 1.0]


def test_no_lesion_has_no_part():
    parts, owner = lesion_parts(found_lesions(np.zeros((5, 5, 5))), Splitting())
    assert parts.count == len(owner) == 0
