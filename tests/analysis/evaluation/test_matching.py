import numpy as np
import pytest

from nnunet_ms.analysis.evaluation.matching import match_masks
from nnunet_ms.analysis.evaluation.rules import RULES, rules_by_name
from nnunet_ms.errors import SettingsError
from nnunet_ms.lesions.overlap import lesion_dice
from tests.lesions.naive_matching import dice_with_touched, found_flags, lesions_of, random_pair, volume

RULE = RULES["krishnan2023"]
SHAPE = (14, 13, 12)


@pytest.mark.parametrize("seeds", [range(start, start + 25) for start in range(0, 200, 25)])
def test_detection_and_lesion_dice_against_naive_loop(seeds):
    # Oracle: naive_matching, one boolean volume per lesion.
    for seed in seeds:
        reference, prediction = random_pair(seed)
        match = match_masks(volume(reference), volume(prediction), RULE)
        first, second = lesions_of(reference), lesions_of(prediction)
        assert match.reference_found.tolist() == found_flags(first, second, SHAPE), seed
        assert match.prediction_found.tolist() == found_flags(second, first, SHAPE), seed
        assert lesion_dice(match.overlap).tolist() == [dice_with_touched(lesion, second) for lesion in first], seed


def test_random_pairs_hold_every_kind_of_lesion():
    matches = [match_masks(*(volume(mask) for mask in random_pair(seed)), RULE) for seed in range(200)]
    for name in ("reference_found", "prediction_found"):
        flags = np.concatenate([getattr(match, name) for match in matches])
        assert min(flags.sum(), (~flags).sum()) > 50
    assert any(match.reference.count == 0 for match in matches)
    assert any(np.unique(match.overlap.row).size < match.overlap.row.size for match in matches)


def test_contingency_table_against_naive_loop():
    reference, prediction = random_pair(3)
    overlap = match_masks(volume(reference), volume(prediction), RULE).overlap
    expected = [
        (row, column, int((one & other).sum()))
        for row, one in enumerate(lesions_of(reference))
        for column, other in enumerate(lesions_of(prediction))
        if (one & other).any()
    ]
    assert len(expected) > 1
    assert list(zip(overlap.row, overlap.column, overlap.shared, strict=True)) == expected


def bar(start, length):
    data = np.zeros((3, 3, 40))
    data[1, 1, start : start + length] = 1
    return data


@pytest.mark.parametrize(("shared", "found"), [(2, False), (3, True), (4, True)])
def test_ten_percent_border(shared, found):
    # By hand: a lesion of 30 voxels, of which 3 are exactly 10 %; in floating point 0.1 * 30 > 3 would lose it.
    match = match_masks(volume(bar(10, 30)), volume(bar(5, 5 + shared)), RULE)
    assert match.overlap.shared.tolist() == [shared]
    assert match.reference_found.tolist() == [found]


def test_border_is_asymmetric():
    # By hand: 3 of 30 voxels find the reference lesion; 3 of 31 do not confirm the predicted one.
    match = match_masks(volume(bar(0, 9)), volume(bar(6, 31)), RULE)
    assert (match.reference_found.tolist(), match.prediction_found.tolist()) == ([True], [False])


def test_overlap_with_a_dropped_component_does_not_count():
    # By hand: the only predicted voxels inside the reference lesion form a component of 2, below the filter.
    match = match_masks(volume(bar(5, 10)), volume(bar(5, 2)), RULE)
    assert (match.reference_found.tolist(), match.prediction_found.tolist()) == ([False], [])


def test_a_lesion_may_be_found_by_several_together():
    # By hand: a flat lesion of 60 voxels; two predicted lesions take 3 voxels each: 6 / 60 together, 5 % alone.
    reference, prediction = np.zeros((3, 6, 20)), np.zeros((3, 6, 20))
    reference[1, :, 5:15] = 1
    prediction[1, 0, 5:8] = prediction[1, 5, 12:15] = 1
    match = match_masks(volume(reference), volume(prediction), RULE)
    assert match.reference_found.tolist() == [True]
    assert lesion_dice(match.overlap).tolist() == [pytest.approx(2 * 6 / (60 + 6))]


@pytest.mark.parametrize("seed", range(20))
def test_swapping_the_masks_swaps_the_match(seed):
    reference, prediction = (volume(mask) for mask in random_pair(seed))
    there, back = match_masks(reference, prediction, RULE), match_masks(prediction, reference, RULE)
    assert there.reference_found.tolist() == back.prediction_found.tolist()
    swapped = there.overlap.swapped
    for name in ("row", "column", "shared", "voxels", "other_voxels"):
        assert getattr(swapped, name).tolist() == getattr(back.overlap, name).tolist(), name


def test_unknown_rule_lists_the_known_ones():
    with pytest.raises(SettingsError, match=r"out of .*krishnan2023.*found \['mystery'\]"):
        rules_by_name(("mystery",))


@pytest.mark.parametrize("names", [(), ("krishnan2023", "krishnan2023")])
def test_rules_must_be_given_once(names):
    with pytest.raises(SettingsError, match="different names"):
        rules_by_name(names)
