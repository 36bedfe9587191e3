import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nnunet_ms.analysis.evaluation.case_metrics import case_metrics
from nnunet_ms.analysis.evaluation.matching import match_by_rules, match_masks
from nnunet_ms.analysis.evaluation.rules import RULES, rules_by_name
from nnunet_ms.errors import SettingsError
from nnunet_ms.images.volumes import Grid, Volume, read_mask
from tests.analysis.evaluation import naive_rules
from tests.lesions.naive_matching import random_pair, volume

NAMES = sorted(RULES)
MASKS = arrays(np.bool_, (4, 5, 6))


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(0, 500, 100)])
def test_every_rule_against_the_naive_loop(seeds):
    # Oracle: naive_rules, 500 random pairs per rule; three voxel volumes, so that the mm3 filter differs.
    for seed in seeds:
        reference, prediction = random_pair(seed)
        edge = (1.0, 2.0, 0.8)[seed % 3]
        affine = np.diag([1.0, 1.0, edge, 1.0])
        rules = [RULES[name] for name in NAMES]
        matches = match_by_rules(volume(reference, affine), volume(prediction, affine), rules)
        for name, match in zip(NAMES, matches, strict=True):
            found, confirmed = naive_rules.flags(name, reference, prediction, edge)
            assert match.reference_found.tolist() == found, (name, seed)
            assert match.prediction_found.tolist() == confirmed, (name, seed)


@pytest.mark.parametrize("name", NAMES)
def test_one_labelling_for_all_rules_changes_nothing(name):
    masks = [volume(mask) for mask in random_pair(11)]
    together = dict(zip(NAMES, match_by_rules(*masks, [RULES[n] for n in NAMES]), strict=True))[name]
    alone = match_masks(*masks, RULES[name])
    assert case_metrics(together, RULES[name]) == pytest.approx(case_metrics(alone, RULES[name]), nan_ok=True)


PAIRS = {"ltpr": "lppv", "tpr": "ppv", "sensl": "ppvl", "dice": "dice", "jaccard": "jaccard", "f1": "f1"}


@settings(max_examples=60)
@given(reference=MASKS, prediction=MASKS)
def test_swapping_roles_swaps_sensitivity_and_precision(reference, prediction):
    # By definition; conventions for empty masks differ by role, so both masks hold a lesion of 9 voxels.
    reference[:3, :3, 0] = prediction[:3, :3, 0] = True
    for rule in RULES.values():
        there = case_metrics(match_masks(volume(reference), volume(prediction), rule), rule)
        back = case_metrics(match_masks(volume(prediction), volume(reference), rule), rule)
        for name, other in PAIRS.items():
            if name in there and other in there:
                assert there[name] == pytest.approx(back[other]), rule.name


@settings(max_examples=40)
@given(mask=MASKS)
def test_a_mask_against_itself_scores_one(mask):
    mask[:3, :3, 0] = True
    for rule in RULES.values():
        values = case_metrics(match_masks(volume(mask), volume(mask), rule), rule)
        for name in ("dice", "ltpr", "lppv", "sensl", "ppvl", "f1", "lesion_f1", "ndsc"):
            assert values.get(name, 1) == 1, (rule.name, name)


@settings(max_examples=40)
@given(
    reference=MASKS,
    prediction=MASKS,
    axes=st.permutations(range(3)),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    pad=st.integers(0, 3),
)
def test_axes_and_place_do_not_matter(reference, prediction, axes, flips, pad):
    # By definition; ties between equal overlaps in msseg2016 and equal Dice in panoptica_ms go by number, so not those.
    moved = [
        np.pad(
            mask.transpose(axes)[tuple(slice(None, None, -1 if f else 1) for f in flips)], ((pad, 1), (0, 0), (0, pad))
        )
        for mask in (reference, prediction)
    ]
    for rule in RULES.values():
        if rule.name.startswith(("msseg", "panoptica")):
            continue
        before = case_metrics(match_masks(volume(reference), volume(prediction), rule), rule)
        after = case_metrics(match_masks(*(volume(mask) for mask in moved), rule), rule)
        for name in set(before) - {"ndsc", "brain_voxels", "specificity", "npv"}:  # these count the image's voxels
            assert after[name] == pytest.approx(before[name], nan_ok=True), (rule.name, name)


def isbi_vector():
    truth, prediction = np.zeros((5, 5, 5)), np.zeros((5, 5, 5))
    truth[1:3, 1:3, 1:3] = truth[4, 2, 4] = truth[4, 4, 4] = 1
    for x, y, z in ((1, 1, 1), (2, 1, 1), (3, 0, 4), (4, 2, 4)):
        prediction[x, y, z] = 1
    return truth, prediction


@pytest.mark.parametrize("name", ["isbi2015", "isbi2015_26"])
def test_isbi_vector(name):
    # Oracle: a worked example computed by hand; no components touch by a corner, so both connectivities agree.
    truth, prediction = isbi_vector()
    values = case_metrics(match_masks(volume(truth), volume(prediction), RULES[name]), RULES[name])
    expected = {"dice": 3 / 7, "ppv": 3 / 4, "tpr": 3 / 10, "ltpr": 2 / 3, "lfpr": 1 / 3, "avd": 0.6}
    assert values == pytest.approx(expected)
    msseg = RULES["msseg2016"]
    assert case_metrics(match_masks(volume(truth), volume(prediction), msseg), msseg)["jaccard"] == pytest.approx(
        3 / 11
    )


def test_normalised_dice():
    # Oracle: the definition with fractions. 10 reference, 4 predicted voxels, 3 shared, 1 false; N = 125 and 50.
    truth, prediction = isbi_vector()
    rule = RULES["shifts2022"]
    for brain, n in ((None, 125), (50, 50)):
        (match,) = match_by_rules(volume(truth), volume(prediction), [rule], brain)
        weight = (1 - Fraction(1, 1000)) * 10 / (Fraction(1, 1000) * (n - 10))
        values = case_metrics(match, rule)
        assert values["ndsc"] == pytest.approx(float(6 / (weight * 1 + 6 + 7)))
        assert values["brain_voxels"] == n


def test_normalised_dice_of_empty_masks():
    # By definition: both empty 1; with an empty reference k = 1, so a false voxel gives 0.
    rule, none = RULES["shifts2022"], np.zeros((3, 3, 3))
    some = none.copy()
    some[0, 0, 0] = 1
    values = [case_metrics(match_masks(volume(a), volume(b), rule), rule) for a, b in ((none, none), (none, some))]
    assert [(v["ndsc"], v["lesion_f1"]) for v in values] == [(1, 1), (0, 0)]


def test_wahlig_precision_without_prediction():
    # By definition: undefined, 0 or 1, each under its own name.
    rule, none = RULES["wahlig2023"], np.zeros((3, 3, 3))
    some = np.ones((3, 3, 3))
    values = case_metrics(match_masks(volume(some), volume(none), rule), rule)
    assert np.isnan(values["lppv"])
    assert (values["lppv_empty0"], values["lppv_empty1"], values["ltpr"]) == (0, 1, 0)


MSSEG = {
    "Jaccard": "jaccard",
    "Dice": "dice",
    "Sensitivity": "tpr",
    "Specificity": "specificity",
    "PPV": "ppv",
    "NPV": "npv",
    "RelativeVolumeError": "relative_volume_error_percent",
    "PPVL": "ppvl",
    "SensL": "sensl",
    "F1": "f1",
    "NbTestedLesions": "tested_lesions",
    "VolTestedLesions": "tested_volume_mm3",
}


def test_msseg_cases_against_the_challenges_own_tool(shared):
    # Oracle: animaSegPerfAnalyzer's printed values for 16 cases (Hausdorff distance is not among our metrics).
    folder = shared / "oracles" / "msseg2016"
    arrays_by_name = np.load(folder / "cases.npz")
    expected = json.loads((folder / "expected.json").read_text())
    assert len(expected) == 16
    for name, case in expected.items():
        grid = Grid(arrays_by_name[f"{name}/reference"].shape, np.diag([*case["spacing_mm"], 1.0]))
        masks = [
            Volume(arrays_by_name[f"{name}/{side}"].astype(np.uint8), grid, name) for side in ("reference", "test")
        ]
        values = case_metrics(match_masks(*masks, RULES["msseg2016"]), RULES["msseg2016"])
        known = {MSSEG[key]: value for key, value in case["expected"].items() if key in MSSEG}
        assert {key: values[key] for key in known} == pytest.approx(known, abs=1e-6), name
        assert all(np.isnan(value) for key, value in values.items() if key not in known), name


def test_msseg_reference_with_small_lesions_only():
    # The spec's convention: SensL undefined, F1 0; the voxel-wise metrics see the mask as it is.
    reference, prediction = np.zeros((6, 6, 6)), np.zeros((6, 6, 6))
    reference[0, 0, :2] = 1
    prediction[0, 0, :5] = 1
    values = case_metrics(match_masks(volume(reference), volume(prediction), RULES["msseg2016"]), RULES["msseg2016"])
    assert np.isnan([values["sensl"], values["tested_lesions"]]).all()
    assert (values["f1"], values["dice"]) == (0, pytest.approx(4 / 7))


@pytest.mark.parametrize(("edge", "kept"), [(1.0, 4), (0.5, 25), (3.0, 1)])
def test_msseg_filter_is_strictly_above_3_mm3(edge, kept):
    # By hand: 3 voxels of 1 mm3 are 3 mm3 and dropped, 24 of 0.125 mm3 as well, one of 27 mm3 is kept.
    assert RULES["msseg2016"].minimum_voxels(edge**3 / 1000) == kept


def test_shifts_with_a_filter():
    (rule,) = rules_by_name(("shifts2022_min5",))
    assert (rule.name, rule.minimum_voxels(1.0)) == ("shifts2022_min5", 5)


@pytest.mark.parametrize("name", ["mystery", "shifts2022_min0", "shifts2022_min", "krishnan2023_min3"])
def test_unknown_rules(name):
    with pytest.raises(SettingsError, match=r"expected different names out of .*found"):
        rules_by_name((name,))


PANOPTICA = {"patient02": (19, 8, 8), "patient03": (11, 10, 10), "patient07": (29, 8, 8), "patient16": (83, 12, 12)}


def test_panoptica_numbers_on_real_masks(shared_data):
    # Oracle: panoptica 2.1.7, configuration binaryMS, of these masks against the same shifted by (1, 1, 0) voxels:
    # tp, fp, fn by Panoptica_Evaluator.load_from_config(...).evaluate(prediction, reference)["ms"].
    for patient, counts in PANOPTICA.items():
        mask = read_mask(shared_data / "open_ms_masks" / f"{patient}_lesion.nii.gz")
        shifted = Volume(np.roll(mask.data, (1, 1), (0, 1)), mask.grid, mask.path)
        match = match_masks(mask, shifted, RULES["panoptica_ms"])
        found = int(match.reference_found.sum())
        assert (found, match.prediction.count - found, match.reference.count - found) == counts, patient
