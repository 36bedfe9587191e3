"""What `evaluate` refuses before it reads a mask, and that the function does what the command does."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.evaluate_cli import main
from nnunet_ms.analysis.evaluation.asked import folders_by_model, paths, probabilities_by_model
from nnunet_ms.analysis.evaluation.evaluate import evaluate
from nnunet_ms.errors import OptionError, SettingsError
from tests.lesions.naive_matching import random_pair


@pytest.fixture
def folders(tmp_path):
    """Three cases as folders of references, predictions, probabilities, maps and brain masks."""
    for seed in range(3):
        reference, prediction = random_pair(seed)
        probability = np.where(prediction, 0.6 + 0.1 * seed, 0.1).astype(np.float32)
        images = {"references": reference, "predictions": prediction, "brain": np.ones(reference.shape)}
        for name, data in {**{n: d.astype(np.uint8) for n, d in images.items()}, "probability": probability}.items():
            (tmp_path / name).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / name / f"c{seed}.nii.gz")
    return tmp_path


@pytest.mark.usefixtures("no_figures")
def test_the_function_with_texts_writes_what_the_command_writes(folders):
    place = {name: str(folders / name) for name in ("predictions", "references", "probability", "brain")}
    found = evaluate(
        place["predictions"],
        place["references"],
        str(folders / "function"),
        rules=["krishnan2023", "shifts2022"],
        note="simulated",
        maps={"probability": place["probability"]},
        regions={"cortex": place["brain"]},
        brain_masks=place["brain"],
        lesion_auc=place["probability"],
        candidate_threshold=0.65,
    )
    options = ["--rules", "krishnan2023,shifts2022", "--data-note", "simulated", "--brain-masks", place["brain"]]
    options += ["--map", f"probability={place['probability']}", "--region", f"cortex={place['brain']}"]
    options += ["--lesion-auc", place["probability"], "--candidate-threshold", "0.65"]
    required = ["--predictions", place["predictions"], "--references", place["references"]]
    assert main([*required, *options, "-o", str(folders / "command")]) == 0
    written = {path.relative_to(found.out) for path in found.out.rglob("*.csv")}
    assert Path("lesion_auc/lesion_auc.csv") in written
    for name in written:
        assert (found.out / name).read_bytes() == (folders / "command" / name).read_bytes(), name
    assert found.lesion_auc.statistics["stat"].notna().any()
    assert found.uncertainty is None


@pytest.mark.usefixtures("no_figures")
def test_uncertainty_comes_back_with_the_tables(folders):
    # Oracle: the file that is written
    rows = {"case_id": ["c0"], "patient_id": "c0", "visit": "v", "week": 0, "rater": "m", "lesion_type": "t2_lesions"}
    numbers = {"lesion_id": 1, "voxels": 1, "volume_ml": 1, "x_mm": 0, "y_mm": 0, "z_mm": 0, "uncertainty": 0.5}
    output = folders / "predictions"
    pd.DataFrame({**rows, **numbers})[:0].to_csv(output / "lesions.csv", index=False)
    pd.DataFrame({**rows, "role": "test", "psu": 0.3, "content_voxels": 500}).to_csv(output / "cases.csv", index=False)
    empty = nib.Nifti1Image(np.zeros((14, 13, 12), np.uint8), np.eye(4))
    nib.save(empty, output / "c0.nii.gz")
    (output / "probability").symlink_to(folders / "probability")
    found = evaluate(output, folders / "references", folders / "out", uncertainty=output)
    written = pd.read_csv(folders / "out" / "uncertainty" / "uncertainty.csv")
    assert found.uncertainty.n_cases == 1
    assert written["value"].to_numpy() == pytest.approx(found.uncertainty.uncertainty["value"], nan_ok=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": "krishnan"}, r"rules: expected different names out of \['isbi2015'.*found \['krishnan'\]"),
        ({"rules": ()}, r"rules: expected different names out of .*found \[\]"),
        ({"regions": {"thalamus": "."}}, r"regions: expected some of \[.*found \['thalamus'\]"),
        ({"maps": {"probability": "nowhere"}}, "nowhere: expected a folder of images, found none"),
        ({"uncertainty": "nowhere"}, "nowhere: expected a folder of images, found none"),
        ({"lesion_auc": {"net": "."}}, r"lesion_auc: expected a folder .* each of \['model'\], found \['net'\]"),
        ({"candidate_threshold": 0.5}, "candidate_threshold: expected 0 < p < 1 beside lesion_auc, found 0.5"),
        ({"lesion_auc": ".", "candidate_threshold": 1.0}, "candidate_threshold: expected 0 < p < 1"),
        ({"qc": -1}, "qc: expected a number of cases to draw, found -1"),
        ({"rater": "../../T"}, "rater: expected a plain name"),
        ({"labels": {"x/../../T": 1}}, "lesion type: expected a plain name"),
        ({"maps": {"../T": "."}}, "map: expected a plain name"),
        ({"maps": {"a\\b": "."}}, "map: expected a plain name"),
        ({"labels": {"a": 1, "b": 1}}, "labels: expected different whole numbers"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(folders, options, message):
    with pytest.raises(SettingsError, match=message):
        evaluate(folders / "predictions", folders / "references", folders / "out", **options)
    assert not (folders / "out").exists()


def test_a_misspelt_argument_is_answered_with_the_name_that_was_meant(folders):
    with pytest.raises(TypeError, match=r"evaluate: unknown argument 'rule'\. Did you mean 'rules'\?"):
        evaluate(folders / "predictions", folders / "references", folders / "out", rule="krishnan2023")


def test_an_uncertainty_that_cannot_be_read_leaves_nothing_behind(folders):
    with pytest.raises(SettingsError, match=r"expected the output of nnunet-ms-predict, lesions\.csv is missing"):
        evaluate(folders / "predictions", folders / "references", folders / "out", uncertainty=folders / "brain")
    assert not (folders / "out").exists()


def test_folders_have_the_name_of_their_model():
    assert folders_by_model("p", None) == {"model": Path("p")}
    assert folders_by_model(Path("p"), " net ") == {"net": Path("p")}
    assert folders_by_model({" a ": "p", "b": Path("q")}, None) == {"a": Path("p"), "b": Path("q")}
    with pytest.raises(SettingsError, match="rater: expected no name beside models that have names, found 'net'"):
        folders_by_model({"a": "p"}, "net")
    assert paths(None) == {}


def test_one_folder_of_probabilities_is_that_of_one_model():
    assert probabilities_by_model("p", ["net"]) == {"net": Path("p")}
    assert probabilities_by_model(None, ["net"]) == {}
    with pytest.raises(SettingsError, match=r"each of \['a', 'b'\], found \['one folder'\]"):
        probabilities_by_model("p", ["a", "b"])


def test_one_threshold_out_of_range_is_a_value_error(folders):
    with pytest.raises(OptionError, match="found 2"):
        evaluate("p", "r", folders / "out", lesion_auc=str(folders), candidate_threshold=2.0)
