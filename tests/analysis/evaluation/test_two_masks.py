"""Oracles: the tables that `nnunet-ms-evaluate` writes for the same masks in files, the naive rules, values by hand."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK

from nnunet_ms.analysis.evaluate_cli import main
from nnunet_ms.analysis.evaluation.rules import RULES
from nnunet_ms.analysis.evaluation.two_masks import evaluate_masks
from nnunet_ms.errors import ImageError, OptionError, SettingsError
from tests.analysis.evaluation import naive_rules
from tests.lesions.naive_matching import random_pair

AFFINE = np.array([[-1.0, 0, 0, 9], [0, 1, 0, -4], [0, 0, 2, 5], [0, 0, 0, 1]])
SEEDS = (3, 8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two cases as files, and what the command says of them under every rule."""
    folder = tmp_path_factory.mktemp("masks")
    for name in ("references", "predictions"):
        (folder / name).mkdir()
    for seed in SEEDS:
        for name, data in zip(("references", "predictions"), random_pair(seed), strict=True):
            nib.save(nib.Nifti1Image(data.astype(np.uint8), AFFINE), folder / name / f"c{seed}.nii.gz")
    places = ["--references", str(folder / "references"), "--predictions", str(folder / "predictions")]
    assert main([*places, "--rules", ",".join(RULES), "-o", str(folder / "out")]) == 0
    return folder


def pair(folder, seed):
    return folder / "references" / f"c{seed}.nii.gz", folder / "predictions" / f"c{seed}.nii.gz"


def rows_of(folder, table, seed):
    rows = pd.read_csv(folder / "out" / table, float_precision="round_trip")
    return rows[rows["case_id"] == f"c{seed}"].reset_index(drop=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_metrics_and_lesions_are_those_of_the_command(files, seed):
    result = evaluate_masks(*pair(files, seed), rule=list(RULES))
    told = rows_of(files, "agreement_cases.csv", seed)
    assert list(zip(result.metrics["rule"], result.metrics["metric"], strict=True)) == list(
        zip(told["rule"], told["metric"], strict=True)
    )
    np.testing.assert_array_equal(result.metrics["value"], told["value"])
    rows = rows_of(files, "lesions.csv", seed)
    found = result.lesions.replace({"rater": {"prediction": "model"}})
    assert len(found) > 5
    pd.testing.assert_frame_equal(found, rows[found.columns], check_exact=True)


@pytest.mark.parametrize("name", RULES)
def test_found_lesions_and_counts_are_those_of_the_naive_rule(name):
    for seed in range(10):
        reference, prediction = random_pair(seed)
        result = evaluate_masks(reference, prediction, spacing=(1, 1, 2), rule=name)
        found, confirmed = naive_rules.flags(name, reference, prediction, 2.0)
        assert result.reference_lesions["found"].tolist() == found
        assert result.predicted_lesions["found"].tolist() == confirmed
        assert result.counts.to_dict("records") == [
            {
                "rule": name,
                "reference_lesions": len(found),
                "predicted_lesions": len(confirmed),
                "tp": sum(confirmed),
                "fp": len(confirmed) - sum(confirmed),
                "fn": len(found) - sum(found),
            }
        ]
        assert (result["fp"], result["fn"]) == (len(confirmed) - sum(confirmed), len(found) - sum(found))


@pytest.mark.parametrize(
    "first", ["path", "text", "image", "in memory", "SimpleITK", "array", "bool", "int64", "float64"]
)
@pytest.mark.parametrize("second", ["path", "in memory", "SimpleITK", "array", "bool"])
def test_every_form_of_a_mask_gives_the_same_result(files, first, second):
    paths = pair(files, SEEDS[0])
    expected = evaluate_masks(*paths)
    forms = [form_of(path, form) for path, form in zip(paths, (first, second), strict=True)]
    both_arrays = all(isinstance(form, np.ndarray) for form in forms)
    found = evaluate_masks(*forms, affine=AFFINE if both_arrays else None)
    pd.testing.assert_frame_equal(found.metrics, expected.metrics)
    pd.testing.assert_frame_equal(found.lesions, expected.lesions, atol=1e-6)  # SimpleITK computes its own affine
    assert 0 < found["dice"] < 1


def form_of(path, form):
    image = nib.load(path)
    data = np.asarray(image.dataobj)
    types = {"array": np.uint8, "bool": bool, "int64": np.int64, "float64": float}
    if form in types:
        return data.astype(types[form])
    if form == "SimpleITK":
        return SimpleITK.ReadImage(path)
    made = {"path": path, "text": str(path), "image": image, "in memory": nib.Nifti1Image(data, image.affine)}
    return made[form]


def test_an_array_beside_an_image_lies_on_its_grid_whichever_comes_first(files):
    path, other = pair(files, SEEDS[0])
    array = np.asarray(nib.load(path).dataobj)
    there, back = evaluate_masks(path, array), evaluate_masks(array, other)
    assert there["dice"] == 1
    assert back.lesions["x_mm"].tolist() == evaluate_masks(path, other).lesions["x_mm"].tolist()


def test_a_turned_mask_is_turned_back(files):
    path, other = pair(files, SEEDS[1])
    image = nib.load(other)
    turned = image.as_reoriented(nib.orientations.axcodes2ornt(("P", "S", "R")))
    pd.testing.assert_frame_equal(evaluate_masks(path, turned).lesions, evaluate_masks(path, other).lesions)


def bars():
    """By hand, voxels of 1 x 1 x 2 mm: reference lesions of 4, 3 and 2 voxels; 3 shared, one false, one below 3."""
    reference, prediction = np.zeros((2, 12, 9, 9), dtype=bool)
    reference[2:6, 2, 2] = reference[2:5, 6, 6] = reference[9:11, 2, 6] = True
    prediction[3:7, 2, 2] = prediction[8:11, 6, 2] = True
    return reference, prediction


def test_numbers_by_hand():
    result = evaluate_masks(*bars(), spacing=(1, 1, 2))
    assert result.counts.to_numpy().tolist() == [["krishnan2023", 2, 2, 1, 1, 1]]
    assert result["dice"] == pytest.approx(2 * 3 / (7 + 7))  # without the component of two voxels
    assert (result["ltpr"], result["lppv"], result["tp"]) == (0.5, 0.5, 1)
    assert result.reference_lesions["volume_ml"].tolist() == pytest.approx([0.008, 0.006])
    assert result.reference_lesions["found"].tolist() == [True, False]
    # the missed lesion ends at (4, 6, 6); the nearest predicted voxels are (4, 2, 2) and (8, 6, 2)
    assert result.reference_lesions["distance_mm"].tolist() == pytest.approx([0, np.sqrt(4**2 + (4 * 2) ** 2)])
    assert result.predicted_lesions["overlap_voxels"].tolist() == [3, 0]
    assert result.predicted_lesions["lesion_id"].tolist() == [1, 2]


def test_the_first_rule_makes_the_lesions_and_a_name_chooses_among_several():
    result = evaluate_masks(*bars(), spacing=(1, 1, 2), rule=("isbi2015", "krishnan2023"))
    assert len(result.reference_lesions) == 3
    assert set(result.lesions["rule"]) == {"isbi2015"}
    assert result["dice"] == result["dice", "isbi2015"] == pytest.approx(2 * 3 / (9 + 7))
    assert result["dice", "krishnan2023"] == pytest.approx(2 * 3 / (7 + 7))
    assert (result["fn"], result["fn", "krishnan2023"]) == (2, 1)
    assert result["lppv", "krishnan2023"] == 0.5


def test_a_rule_with_a_filter_of_its_own_and_units():
    result = evaluate_masks(*bars(), spacing=(1, 1, 2), rule=["shifts2022_min3", "msseg2016"])
    assert result.counts["rule"].tolist() == ["shifts2022_min3", "msseg2016"]
    units = result.metrics.set_index(["rule", "metric"])["unit"]
    assert units["shifts2022_min3", "brain_voxels"] == "voxels"
    assert units["msseg2016", "tested_volume_mm3"] == "mm3"
    assert units["msseg2016", "relative_volume_error_percent"] == "%"
    assert units["shifts2022_min3", "lesion_f1"] == ""


@pytest.mark.parametrize("form", ["array", "image"])
def test_a_brain_mask_is_the_size_of_the_brain(form):
    reference, prediction = bars()
    brain = np.zeros(reference.shape, np.uint8)
    brain[:, :, :8] = 1
    given = brain if form == "array" else nib.Nifti1Image(brain, np.diag([1.0, 1, 2, 1]))
    result = evaluate_masks(reference, prediction, spacing=(1, 1, 2), rule="shifts2022", brain=given)
    assert result["brain_voxels"] == 12 * 9 * 8
    assert evaluate_masks(reference, prediction, spacing=(1, 1, 2), rule="shifts2022")["brain_voxels"] == 12 * 9 * 9
    with pytest.raises(ImageError, match="brain: expected a brain mask, found no voxel in it"):
        evaluate_masks(reference, prediction, spacing=(1, 1, 2), brain=np.zeros_like(brain))


def test_one_label_of_several():
    reference, prediction = (mask.astype(np.uint8) for mask in bars())
    reference[6, 6, 6] = prediction[2, 6, 2] = 3
    found = evaluate_masks(2 * reference, 2 * prediction, spacing=(1, 1, 2), label=2)
    pd.testing.assert_frame_equal(found.metrics, evaluate_masks(*bars(), spacing=(1, 1, 2)).metrics)


EMPTY = np.zeros((12, 9, 9), dtype=bool)


@pytest.mark.parametrize(
    ("reference", "prediction", "counts", "dice", "ltpr", "lppv"),
    [
        (EMPTY, EMPTY, [0, 0, 0, 0, 0], np.nan, np.nan, np.nan),
        (bars()[0], EMPTY, [2, 0, 0, 0, 2], 0, 0, np.nan),
        (EMPTY, bars()[1], [0, 2, 0, 2, 0], 0, np.nan, 0),
    ],
)
def test_empty_masks(reference, prediction, counts, dice, ltpr, lppv):
    result = evaluate_masks(reference, prediction, spacing=(1, 1, 2))
    assert result.counts.iloc[0, 1:].tolist() == counts
    np.testing.assert_equal([result[name] for name in ("dice", "ltpr", "lppv")], [dice, ltpr, lppv])
    assert result.lesions["found"].dtype == bool
    assert result.lesions["voxels"].dtype == np.int64
    assert not result.lesions["found"].any()
    assert result.lesions["distance_mm"].isna().all()
    assert f"{counts[0]} reference lesions, {counts[4]} missed" in str(result)
    assert result.plot().axes


def test_text_and_html_say_the_counts_the_rule_and_the_metrics():
    result = evaluate_masks(*bars(), spacing=(1, 1, 2), rule="msseg2016")
    line = "3 reference lesions, 2 missed; 2 predicted, 1 false; rule msseg2016: 6-connected, more than 3 mm3"
    assert str(result).splitlines()[0].startswith(line)
    assert len(str(result).splitlines()) == 2 + len(result.metrics)
    assert repr(result) == str(result)
    page = result._repr_html_()
    assert "<th>metric</th>" in page
    assert "found by the challenge&#x27;s rule" in page


def test_the_picture_marks_the_missed_and_the_false_lesion_and_says_so():
    result = evaluate_masks(*bars(), spacing=(1, 1, 2))
    figure = result.plot(title="made by hand")
    assert figure.get_suptitle().splitlines()[0] == "made by hand"
    assert "2 reference lesions, 1 missed; 2 predicted, 1 false" in figure.get_suptitle()
    circles = [patch for axes in figure.axes for patch in axes.patches]
    assert len(circles) == 2
    assert len({patch.get_edgecolor() for patch in circles}) == 2


@pytest.mark.parametrize("form", ["array", "image", "path"])
def test_the_picture_is_drawn_on_an_image(form, write_nifti):
    values = np.random.default_rng(0).normal(100, 20, EMPTY.shape).astype(np.float32)
    grid = np.diag([1.0, 1, 2, 1])
    path = write_nifti("flair.nii.gz", values, affine=grid)
    image = {"array": values, "image": nib.Nifti1Image(values, grid), "path": str(path)}[form]
    result = evaluate_masks(*bars(), spacing=(1, 1, 2))
    grey, plain = (np.asarray(figure.axes[0].images[0].get_array()) for figure in (result.plot(image), result.plot()))
    assert np.unique(grey).size > np.unique(plain).size + 10
    with pytest.raises(ImageError, match=r"image: expected the grid of reference \(shape .*found shape"):
        result.plot(values[:-1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"spacing": None}, SettingsError, "reference: an array needs spacing or affine, found neither"),
        ({"affine": np.eye(4)}, SettingsError, "an array needs spacing or affine, found both"),
        ({"spacing": (1, 1)}, SettingsError, r"spacing: expected three voxel edges in mm.*found \(1, 1\)"),
        ({"prediction": EMPTY[:-1]}, ImageError, r"prediction: .* of reference \(shape \(12, 9, 9\).*\(11, 9, 9\)"),
        ({"reference": EMPTY[0]}, ImageError, r"reference: expected a 3-D image, found shape \(9, 9\)"),
        ({"prediction": EMPTY[..., None]}, ImageError, r"prediction: expected a 3-D image.*\(12, 9, 9, 1\)"),
        ({"prediction": EMPTY + np.nan}, ImageError, "prediction: expected finite voxels, found 972 NaN or infinite"),
        ({"prediction": EMPTY + 0.4}, ImageError, r"prediction: expected a mask with values \[0, 1\], found 0.4"),
        ({"reference": EMPTY + 2}, ImageError, r"reference: expected a mask with values \[0, 1\], found 2"),
        ({"reference": EMPTY - 1.0}, ImageError, r"reference: expected a mask with values \[0, 1\], found -1"),
        ({"reference": EMPTY + 0.5, "label": 1}, ImageError, "reference: expected a mask with values .*found 0.5"),
        ({"label": 0}, OptionError, "label: expected a whole number 1 to 255, or none, found 0"),
        ({"rule": "krishnan"}, OptionError, "rule: expected one of 'krishnan2023', .*Did you mean 'krishnan2023'"),
        ({"rule": ("isbi2015", "x")}, OptionError, "rule: expected one of .*'panoptica_ms', found 'x'"),
        ({"rule": ("isbi2015", "isbi2015")}, SettingsError, "rules: expected different names"),
        ({"rule": ()}, SettingsError, "rules: expected different names"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(change, error, message):
    given = {"reference": EMPTY, "prediction": EMPTY, "spacing": (1, 1, 2), **change}
    with pytest.raises(error, match=message):
        evaluate_masks(given.pop("reference"), given.pop("prediction"), **given)


def test_geometry_beside_an_image_and_another_grid_are_refused(files):
    path, other = pair(files, SEEDS[0])
    array = np.asarray(nib.load(other).dataobj)
    with pytest.raises(SettingsError, match="spacing, affine: expected neither, because files and images"):
        evaluate_masks(path, array, spacing=(1, 1, 2))
    with pytest.raises(ImageError, match=r"prediction: expected the grid of .*found shape \(13, 13, 12\)"):
        evaluate_masks(path, array[:-1])
    shifted = nib.Nifti1Image(array, AFFINE @ np.diag([1, 1, 1.1, 1]))
    with pytest.raises(ImageError, match=r"prediction: expected the grid of .*c3.nii.gz .*2.2 mm"):
        evaluate_masks(path, shifted)
    with pytest.raises(ImageError, match=r"nowhere\.nii\.gz: no such file"):
        evaluate_masks(path, "nowhere.nii.gz")


def test_an_unknown_metric_or_rule_of_a_result_lists_the_known_ones():
    result = evaluate_masks(*bars(), spacing=(1, 1, 2))
    with pytest.raises(OptionError, match=r"metric: expected one of 'ppv', .*'fn', found 'dise'. Did you mean 'dice'"):
        result["dise"]
    with pytest.raises(OptionError, match="rule: expected one of 'krishnan2023', found 'isbi2015'"):
        result["dice", "isbi2015"]
