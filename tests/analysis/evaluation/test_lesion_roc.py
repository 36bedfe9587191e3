"""Through the command, on six simulated cases; numbers by the definition and against the evaluation's own counts."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.evaluate_cli import main
from nnunet_ms.analysis.evaluation.lesion_roc import LESION_AUC, lesion_auc
from nnunet_ms.images.volumes import write_volume
from nnunet_ms.tables import read_table

SHAPE = (40, 30, 6)
LABELS = "t1_unenhancing=1,t1_enhancing=2"
TYPES = {"t1_unenhancing": 1, "t1_enhancing": 2}
MODELS = ("individual", "joint")


def draw(rng, quality):
    """A label image, and a model's masks and probabilities: lesions of 4 or 80 voxels, some missed, some false."""
    truth, predicted = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    maps = {name: np.zeros(SHAPE, np.float32) for name in TYPES}
    for place in range(8):
        label = 1 + place % 2
        size = (slice(5 * place, 5 * place + 2), slice(2, 4)) if place < 4 else (
            slice(5 * place, 5 * place + 4), slice(2, 12))  # fmt: skip
        box = (*size, slice(1, 2 if place < 4 else 3))
        truth[box] = label
        if rng.random() < quality:
            predicted[box] = label
            maps[list(TYPES)[label - 1]][box] = rng.uniform(0.55, 1)
        if rng.random() < 0.5:
            false = (slice(5 * place, 5 * place + 3), slice(20, 22), 4)
            predicted[false] = label
            maps[list(TYPES)[label - 1]][false] = rng.uniform(0.5, 0.8)
    return truth, predicted, maps


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("auc")
    affine = np.diag([2.0, 2.0, 3.0, 1.0])  # 4 voxels: 0.048 ml; 80: 0.96 ml
    rows = []
    for number in range(6):
        case = f"p{number}_w0"
        rows.append({"case_id": case, "patient_id": f"p{number}", "visit": "w0", "week": 0, "role": "test"})
        for model, quality in zip(MODELS, (0.5, 0.9), strict=True):
            truth, predicted, maps = draw(np.random.default_rng([number, len(model)]), quality)
            write_volume(root / "references" / f"{case}.nii.gz", truth, affine)
            write_volume(root / model / f"{case}.nii.gz", predicted, affine)
            for name, values in maps.items():
                write_volume(root / model / "probability" / f"{case}_{name}.nii.gz", values, affine)
    pd.DataFrame(rows).to_csv(root / "cases.csv", index=False)
    return root


def arguments(study, out, models=MODELS):
    found = ["--references", str(study / "references"), "--cases", str(study / "cases.csv"), "--labels", LABELS]
    for model in models:
        found += ["--predictions", f"{model}={study / model}", "--lesion-auc", f"{model}={study / model}/probability"]
    return [*found, "--data-note", "simulated", "-o", str(out)]


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "evaluation"
    (out / "lesion_auc").mkdir(parents=True)  # of an earlier evaluation, which is replaced
    assert main(arguments(study, out)) == 0
    return out


def by_definition(candidates, rater, lesion_type, low, high, counted):
    rows = candidates[(candidates["rater"] == rater) & (candidates["lesion_type"] == lesion_type)]
    rows = rows[(rows["volume_ml"] > low) & (rows["volume_ml"] <= high) & rows["counted"].str.contains(counted)]
    pairs = [
        (x > y) + 0.5 * (x == y)
        for x in rows.loc[rows["truth"] == "lesion", "score"]
        for y in rows.loc[rows["truth"] == "false", "score"]
    ]
    return np.mean(pairs)


def test_every_auc_by_its_definition_from_the_candidates(written):
    candidates = pd.read_csv(written / "lesion_auc" / "lesion_candidates.csv")
    table = pd.read_csv(written / "lesion_auc" / "lesion_auc.csv")
    limits = {"all": (0, 99), "small": (0, 0.06), "large": (0.06, 99)}
    checked = 0
    for row in table[table["stat_name"].isin(["auc", "auc_common"]) & (table["n_false"] > 0)].itertuples():
        counted = "common" if row.stat_name == "auc_common" else "own"
        expected = by_definition(candidates, row.rater, row.lesion_type, *limits[row.size], counted)
        assert row.stat == pytest.approx(expected, abs=1e-9), row
        checked += 1
    assert checked >= 8


def test_a_lesion_scores_above_0_exactly_where_the_evaluation_finds_it(written):
    candidates = pd.read_csv(written / "lesion_auc" / "lesion_candidates.csv")
    sizes = pd.read_csv(written / "size_bins.csv")
    table = pd.read_csv(written / "lesion_auc" / "lesion_auc.csv")
    table = table[table["size"] == "all"].set_index(["rater", "lesion_type", "stat_name"])["stat"]
    for (rater, kind), rows in candidates[candidates["truth"] == "lesion"].groupby(["rater", "lesion_type"]):
        here = sizes[(sizes["rater"] == rater) & (sizes["lesion_type"] == kind) & (sizes["size_bin"] == "all")]
        assert (rows["score"] > 0).sum() == here["found_lesions"].sum()
        assert table[rater, kind, "ltpr"] == pytest.approx(here["ltpr"].item())
        assert table[rater, kind, "lfpr"] == pytest.approx(here["lfpr"].item())
        assert table[rater, kind, "lesion_dice"] == pytest.approx(here["lesion_dice"].item())


def test_pairs_of_models_are_compared_with_interval_and_p(written):
    table = pd.read_csv(written / "lesion_auc" / "lesion_auc.csv")
    rows = table[(table["versus"] == "individual") & (table["size"] == "all")]
    assert set(rows["rater"]) == {"joint"}
    assert set(rows["stat_name"]) == {"auc_difference", "delong_se", "delong_z", "delong_p"}
    values = rows[rows["lesion_type"] == "t1_enhancing"].set_index("stat_name")
    assert values.loc["auc_difference", "low"] <= values.loc["auc_difference", "stat"]
    assert values.loc["auc_difference", "stat"] <= values.loc["auc_difference", "high"]
    own = table[table["stat_name"] == "auc_common"].set_index(["lesion_type", "size", "rater"])["stat"]
    difference = own["t1_enhancing", "all", "joint"] - own["t1_enhancing", "all", "individual"]
    assert values.loc["auc_difference", "stat"] == pytest.approx(difference)


def test_tables_and_figure_are_complete(written):
    read_table(written / "lesion_auc" / "lesion_auc.csv", LESION_AUC)
    assert {"roc.svg", "roc.png", "failures.csv"} <= {path.name for path in (written / "lesion_auc").iterdir()}


def direct(study, maps, threshold=None):
    return lesion_auc({"joint": study / "joint"}, {"joint": maps}, study / "references", TYPES, threshold=threshold)


def test_one_model_is_compared_with_nobody(study):
    table = direct(study, study / "joint" / "probability").statistics
    assert set(table["rater"]) == {"joint"}
    assert table["versus"].isna().all()
    assert set(table["stat_name"]) == {"auc", "auc_se", "auc_common", "ltpr", "lfpr", "lesion_dice"}


def test_probabilities_of_other_models_are_refused(study, tmp_path, capsys):
    line = arguments(study, tmp_path / "e")
    line[line.index("--lesion-auc") + 1] = f"other={study / 'joint'}/probability"
    assert main(line) == 2
    assert not (tmp_path / "e").exists()
    assert "expected a folder of probabilities for each of ['individual', 'joint']" in capsys.readouterr().err


def test_a_threshold_changes_the_candidates_and_not_the_detection(study):
    # every component of these masks has one probability, so above 0.7 the less likely ones are gone
    masks, above = (direct(study, study / "joint" / "probability", threshold) for threshold in (None, 0.7))
    rows = above.candidates[above.candidates["components"] == "probability > 0.7"]
    assert rows.loc[rows["score"] > 0, "score"].min() > 0.7
    kept = masks.candidates[(masks.candidates["truth"] == "false") & (masks.candidates["score"] > 0.7)]
    assert sorted(rows.loc[rows["truth"] == "false", "score"]) == pytest.approx(sorted(kept["score"]))
    keys = ["lesion_type", "size", "stat_name"]
    one, other = (found.statistics.set_index(keys)["stat"] for found in (masks, above))
    for name in ("ltpr", "lfpr", "lesion_dice"):
        assert one["t1_enhancing", "all", name] == other["t1_enhancing", "all", name]
    assert one["t1_enhancing", "all", "auc"] != other["t1_enhancing", "all", "auc"]


def test_a_map_that_is_no_probability_is_listed(study, tmp_path):
    for path in (study / "joint" / "probability").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_volume(tmp_path / "p0_w0_t1_enhancing.nii.gz", np.full(SHAPE, 7.0, np.float32), np.diag([2.0, 2.0, 3.0, 1.0]))
    found = direct(study, tmp_path)
    assert [failure.case for failure in found.failures] == ["p0_w0"]
    assert "expected probabilities from 0 to 1" in found.failures[0].reason
    assert found.candidates["case_id"].nunique() == 5
