"""`nnunet-ms-stratify explain`, on a made-up cohort and small networks of random weights."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from nnunet_ms.checkpoints import save_checkpoint
from nnunet_ms.classification.stratification import explain_outputs
from nnunet_ms.classification.stratification.explain_folds import folds_of
from nnunet_ms.classification.stratification.explain_methods import explain
from nnunet_ms.classification.stratification.explain_models import explain_cohort
from nnunet_ms.classification.stratification.explain_outputs import comparable
from nnunet_ms.classification.stratification.explain_randomised import RANDOMISATION
from nnunet_ms.classification.stratification.explain_regions import RANKED_REGIONS, RELEVANCE
from nnunet_ms.classification.stratification.explain_scans import EXPLAINED
from nnunet_ms.classification.stratification.fold_models import DISABILITY, FORMAT, WEIGHTS
from nnunet_ms.classification.stratification.networks import stratification_network
from nnunet_ms.classification.stratification.prediction_tables import CROSS_VALIDATION
from nnunet_ms.classification.stratification.preparation import load_prepared, target_grid
from nnunet_ms.classification.stratify_cli import main
from nnunet_ms.errors import ImageError, ModelError, OptionError, SettingsError, TableError
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.tables import read_table, write_table
from tests.classification.stratification.tiny_prepared import EDGE, SHAPE, write_prepared

FOLDS = 3
DRAWN = []


def networks(name="compact"):
    """The fold models' networks, with weights from their seeds."""
    made = []
    for fold in range(FOLDS):
        torch.manual_seed(fold)
        made.append(stratification_network(name, small=True, shape=SHAPE).eval())
    return made


def write_models(root, name="compact", strategy="global", known=range(6), **changes):
    """`ROOT/<strategy>/fold_<k>/model.pt` and `ROOT/cross_validation.csv`, as `train` does; Pk is in fold k % 3."""
    for fold, network in enumerate(networks(name)):
        contents = {"format": FORMAT, "task": DISABILITY, "strategy": strategy, "network": name, "small": True}
        contents |= {"outputs": 1, "shape": list(SHAPE), "coarser": 1, "fold": fold, "folds": FOLDS, "options": {}}
        contents |= {"preparation": {}, "threshold": 0.5, "weights": dict(network.state_dict()), **changes}
        save_checkpoint(contents, root / strategy / f"fold_{fold}" / WEIGHTS)
    rows = [(f"P{k}", "base", strategy, k % FOLDS, k % 2, 0.5, 0.5) for k in known]
    write_table(pd.DataFrame(rows, columns=CROSS_VALIDATION.names), root / "cross_validation.csv")
    return root / strategy


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("cohort") / "prepared")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def run(prepared, models, tmp_path_factory):
    """One whole run of all methods; pictures are told, not drawn: see test_explain_pictures.py."""
    patch, out = pytest.MonkeyPatch(), tmp_path_factory.mktemp("run") / "explained"
    patch.setattr(explain_outputs, "draw_brain", lambda *args: DRAWN.append(args))
    found = explain_cohort(models, prepared, out, steps=16, randomised=1, data_note="made up")
    patch.undo()
    return found


def relevance_of(out, case, method):
    return np.asarray(read_volume(out / "maps" / f"{case}_{method}.nii.gz").data)


def test_each_patient_is_explained_by_the_fold_that_has_not_seen_it_and_strangers_by_all(run, prepared):
    # Oracle: the networks asked one by one
    told = run.scans.drop_duplicates("case_id").set_index("patient_id")["explained_by"].to_dict()
    assert told == {f"P{k}": f"fold {k % FOLDS}" if k < 6 else "mean of 3" for k in range(8)}
    made = networks()
    for patient, folds in (("P4", [1]), ("P6", [0, 1, 2])):
        scan = load_prepared(prepared / "scans" / f"{patient}_base.npz")
        for method in ("gradcam", "ig", "lrp"):
            expected = np.mean([explain(made[k], scan.images, method, steps=16).relevance for k in folds], axis=0)
            found = relevance_of(run.folder, f"{patient}_base", method)
            assert found == pytest.approx(expected, abs=1e-6 * float(np.abs(expected).max()))


def test_maps_lie_in_mni_space_on_the_grid_of_the_input(run):
    volume = read_volume(run.folder / "maps" / "P0_base_ig.nii.gz")
    assert volume.data.shape == SHAPE
    assert np.array_equal(volume.grid.affine, target_grid(EDGE).affine)


def test_tables_are_what_they_say(run):
    tables = {"explained_scans": EXPLAINED, "relevance": RELEVANCE, "regions": RANKED_REGIONS}
    found = {
        name: read_table(run.folder / f"{name}.csv", table)
        for name, table in {**tables, "randomisation": RANDOMISATION}.items()
    }
    assert len(found["explained_scans"]) == 8 * 3
    ig = found["explained_scans"].query("method == 'ig'")
    assert ig["relevance_sum"].to_numpy() == pytest.approx(ig["expected_sum"].to_numpy(), abs=0.02)
    assert found["explained_scans"].query("method == 'gradcam'")["expected_sum"].isna().all()
    assert found["relevance"].groupby(["case_id", "method"])["share"].sum().to_numpy() == pytest.approx(1)
    every = found["regions"].query("scans == 'all'")
    assert every.groupby("method")["rank"].apply(lambda ranks: sorted(ranks.dropna())).tolist() == [[1, 2, 3, 4, 5]] * 3
    assert set(every["n"]) == {8}
    assert found["randomisation"]["case_id"].unique().tolist() == ["P0_base"]
    assert found["randomisation"].groupby("method").size().to_dict() == {"gradcam": 4, "ig": 4, "lrp": 4}


def test_mean_maps_are_means_of_maps_of_like_size(run):
    maps = [relevance_of(run.folder, f"P{k}_base", "ig").astype(float) for k in range(8)]
    expected = np.mean([one / np.abs(one[one != 0]).mean() for one in maps], axis=0)
    found = np.asarray(read_volume(run.folder / "mean_maps" / "ig_all.nii.gz").data)
    assert found == pytest.approx(expected, abs=1e-5 * float(np.abs(expected).max()))


def test_pictures_settings_and_remarks_say_what_they_are_of(run):
    titles = {path.name: title for _, _, _, title, _, path, _ in DRAWN}
    assert titles["global_compact_ig_all.png"] == (
        "Integrated gradients of compact (global), all: n = 8 scans of 8 patients, data: made up"
    )
    assert {f"global_compact_{method}_all.png" for method in ("gradcam", "ig", "lrp")} <= set(titles)
    settings = json.loads((run.folder / "settings.json").read_text())
    assert (settings["strategy"], settings["network"]) == ("global", "compact")
    assert (settings["scans_out_of_fold"], settings["scans_by_all_folds"]) == (6, 2)
    assert settings["gradcam_cells"] == [7, 9, 7]
    told = "\n".join(run.remarks)
    assert "8 scans of 8 patients, global, compact: 6 by the fold that has not seen the patient, 2 by all folds" in told
    assert "relevances sum to logit(scan) - logit(empty image) to within" in told
    assert "LRP: relevances sum to the logit but for what biases and epsilon keep" in told
    assert all(f"{name}: maps " in told for name in ("Grad-CAM", "Integrated gradients", "LRP (epsilon rule)"))


def quick(models, prepared, out, **options):
    little = {"methods": ["gradcam"], "randomised": 0, "pictures": False}
    return explain_cohort(models, prepared, out, **{**little, **options})


def test_a_killed_run_goes_on_after_the_last_scan(prepared, tmp_path, models, monkeypatch):
    done = []
    whole = quick(models, prepared, tmp_path / "whole")
    from nnunet_ms.classification.stratification import explain_scans

    real = explain_scans.explain_scan

    def counted(*args, **options):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(1)
        return real(*args, **options)

    monkeypatch.setattr(explain_scans, "explain_scan", counted)
    with pytest.raises(KeyboardInterrupt):
        quick(models, prepared, tmp_path / "out")
    done.clear()
    done.extend([1] * -10)
    monkeypatch.setattr(
        explain_scans, "explain_scan", lambda *args, **options: done.append(1) or real(*args, **options)
    )
    again = quick(models, prepared, tmp_path / "out")
    assert len(done) == 8 - 3
    pd.testing.assert_frame_equal(again.scans, whole.scans)
    pd.testing.assert_frame_equal(again.regions, whole.regions)
    done.clear()
    quick(models, prepared, tmp_path / "out")
    assert done == []


def test_a_scan_that_was_prepared_anew_is_explained_anew(tmp_path, models):
    prepared = write_prepared(tmp_path / "prepared", patients=2)
    before = quick(models, prepared, tmp_path / "out").scans
    (prepared / "scans" / "P0_base.npz").write_bytes((prepared / "scans" / "P1_base.npz").read_bytes())
    after = quick(models, prepared, tmp_path / "out").scans
    assert after["logit"][0] != before["logit"][0]
    assert after["logit"][1] == before["logit"][1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"methods": ["ig"]}, "expected gradcam_cells = "),
        ({"seed": 3}, "expected seed = 0"),
        ({"randomised": 1}, "expected randomised = 0"),
    ],
)
def test_another_run_does_not_go_on_in_the_folder(tmp_path, models, change, told):
    prepared = write_prepared(tmp_path / "prepared", patients=2)
    quick(models, prepared, tmp_path / "out")
    with pytest.raises(SettingsError, match=told):
        quick(models, prepared, tmp_path / "out", **change)


def test_a_damaged_scan_is_listed_and_the_others_are_explained(tmp_path, models):
    prepared = write_prepared(tmp_path / "prepared", patients=3)
    (prepared / "scans" / "P1_base.npz").write_bytes(b"no scan")
    found = quick(models, prepared, tmp_path / "out")
    assert [failure.case for failure in found.failures] == ["P1_base"]
    assert "P1_base.npz: expected a scan as prepared" in (tmp_path / "out" / "failures.csv").read_text()
    assert found.scans["case_id"].tolist() == ["P0_base", "P2_base"]
    for k in (0, 2):
        (prepared / "scans" / f"P{k}_base.npz").write_bytes(b"no scan")
    with pytest.raises(TableError, match=r"expected scans that can be read, found none: .*P0_base.npz"):
        quick(models, prepared, tmp_path / "other")


def test_scans_without_the_region_are_left_out_and_told(tmp_path):
    prepared = write_prepared(tmp_path / "prepared", patients=4, lacking={"P2": "wm"})
    models = write_models(tmp_path / "models", strategy="wm")
    found = quick(models, prepared, tmp_path / "out")
    assert found.scans["patient_id"].tolist() == ["P0", "P1", "P3"]
    assert "P2_base,wm,no voxel of the region" in (tmp_path / "out" / "left_out.csv").read_text()
    assert any("1 scans lack wm and are left out" in line for line in found.remarks)
    assert any("other regions stand in the tables with that voxel alone" in line for line in found.remarks)
    lacking = write_prepared(tmp_path / "none", patients=2, lacking={"P0": "wm", "P1": "wm"})
    with pytest.raises(TableError, match="expected scans with wm, found none among 2"):
        quick(models, lacking, tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "name", "error", "told"),
    [
        (
            {"methods": ["occlusion"]},
            "compact",
            OptionError,
            "methods: expected one of 'gradcam', 'ig', 'lrp', found 'occl",
        ),
        ({"methods": ["lrp"]}, "densenet121", ModelError, "found lrp, which has no rule for its .*--network compact"),
        ({"methods": ["ig", "lrp"]}, "resnet18", ModelError, "found lrp, which has no rule for its .*Leave lrp out"),
        ({"steps": 1}, "compact", OptionError, "steps: expected a whole number >= 2, found 1"),
        ({"randomised": -1}, "compact", OptionError, "randomised: expected a whole number >= 0, found -1"),
        ({"other_cohort": "yes"}, "compact", OptionError, "other_cohort: "),
        ({"atlas_names": "names.csv"}, "compact", OptionError, "atlas_names: expected an atlas to go with"),
        ({"atlas": "nowhere.nii.gz"}, "compact", ImageError, "nowhere.nii.gz"),
    ],
)
def test_what_cannot_be_is_refused_before_the_folder_is_made(prepared, tmp_path, options, name, error, told):
    models = write_models(tmp_path / "models", name)
    with pytest.raises(error, match=told):
        quick(models, prepared, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_models_on_coarser_voxels_are_explained_on_the_grid_of_the_scans(tmp_path):
    # Oracle: the network asked on means of blocks; the fine map of a block sums to the coarse one
    shape = [n // 2 for n in SHAPE]
    prepared = write_prepared(tmp_path / "prepared", patients=1)
    torch.manual_seed(0)
    network = stratification_network("resnet18", small=True).eval()
    models = write_models(tmp_path / "models", "resnet18", coarser=2, shape=shape, weights=dict(network.state_dict()))
    found = quick(models, prepared, tmp_path / "out", methods=["ig"], steps=8)
    images = load_prepared(prepared / "scans" / "P0_base.npz").images
    coarse = images.reshape(2, shape[0], 2, shape[1], 2, shape[2], 2).mean((2, 4, 6))
    expected = explain(network, coarse, "ig", steps=8)
    assert found.scans["logit"][0] == pytest.approx(expected.logit, abs=1e-5)
    fine = relevance_of(tmp_path / "out", "P0_base", "ig")
    assert fine.shape == SHAPE
    blocks = fine.reshape(shape[0], 2, shape[1], 2, shape[2], 2).sum((1, 3, 5))
    assert blocks == pytest.approx(expected.relevance, abs=1e-5)


def damaged(root, what):
    """Models with one fault."""
    if what == "grid":
        return write_models(root, "densenet121", shape=[80, 96, 80])
    if what == "task":
        return write_models(root, task="survival")
    models = write_models(root)
    if what == "root":
        return root
    if what == "none":
        return root.parent
    if what == "fold":
        (models / "fold_1" / WEIGHTS).unlink()
    if what == "bytes":
        (models / "fold_2" / WEIGHTS).write_bytes(b"no model")
    if what == "mixed":
        write_models(root / "other", "densenet121")
        shutil.copytree(root / "other" / "global" / "fold_1", models / "fold_1", dirs_exist_ok=True)
    if what == "table":
        (root / "cross_validation.csv").unlink()
    if what == "rows":
        write_models(root, strategy="wm")
    if what == "truth":
        path = root / "cross_validation.csv"
        path.write_text(path.read_text().replace("P1,base,global,1,1", "P1,base,global,1,0"))
    return models


@pytest.mark.parametrize(
    ("what", "error", "told"),
    [
        ("grid", ModelError, r"expected scans of 80 x 96 x 80 voxels.*found 20 x 24 x 20.*--edge-mm"),
        ("task", ModelError, r"expected models of EDSS >= 3.0 \(task disability\), found survival"),
        ("root", ModelError, "expected the models of one strategy .*found strategies global. Name one of them"),
        ("none", ModelError, "expected the models of one strategy .*found none. Train with"),
        ("fold", ModelError, r"expected 3 folds, fold 1 lacks \(2 found\)"),
        ("bytes", ModelError, "fold_2/model.pt: expected SHA-256"),
        ("mixed", ModelError, "expected models of one network, found several"),
        ("table", TableError, "cross_validation.csv: expected the table that tells.*--other-cohort"),
        ("rows", TableError, "cross_validation.csv: expected rows of global, found none"),
        ("truth", TableError, "patient P1, visit base with disabled 1.*found 0.*--other-cohort"),
    ],
)
def test_models_that_cannot_explain_these_scans_are_refused_in_one_line(prepared, tmp_path, capsys, what, error, told):
    models = damaged(tmp_path / "models", what)
    with pytest.raises(error, match=told):
        quick(models, prepared, tmp_path / "out")
    assert main(["explain", str(models), str(prepared), "-o", str(tmp_path / "out")]) == 2
    assert re.search(f"^nnunet-ms-stratify: .*{told}.*\n$", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_scans_of_another_cohort_are_explained_by_all_folds_whatever_they_are_called(prepared, tmp_path):
    models = write_models(tmp_path / "models")
    (tmp_path / "models" / "cross_validation.csv").unlink()
    found = quick(models, prepared, tmp_path / "out", other_cohort=True)
    assert set(found.scans["explained_by"]) == {"mean of 3"}


def test_the_command_tells_and_ends_with_1_where_a_scan_failed(tmp_path, models, capsys):
    prepared = write_prepared(tmp_path / "prepared", patients=3)
    (prepared / "scans" / "P1_base.npz").write_bytes(b"no scan")
    options = ["--methods", "lrp,gradcam", "--randomised", "0", "--no-pictures", "-o", str(tmp_path / "out")]
    assert main(["explain", str(models), str(prepared), *options]) == 1
    told = capsys.readouterr()
    assert "2 scans of 2 patients, global, compact: 2 by the fold" in told.out
    assert "Not checked whether maps depend on the weights (randomised 0)." in told.out
    assert told.err.startswith("nnunet-ms-stratify: case P1_base: ")
    assert (tmp_path / "out" / "mean_maps" / "lrp_all.nii.gz").is_file()
    assert not (tmp_path / "out" / "pictures").exists()


@pytest.mark.parametrize("text", [None, "{", "[]", '{"edge_mm": "wide"}'])
def test_a_prepared_folder_without_its_settings_is_refused(tmp_path, models, text):
    prepared = write_prepared(tmp_path / "prepared", patients=2)
    (prepared / "settings.json").unlink()
    if text is not None:
        (prepared / "settings.json").write_text(text)
    with pytest.raises(TableError, match="expected the settings of nnunet-ms-stratify prepare with edge_mm"):
        quick(models, prepared, tmp_path / "out")


def cross_validation(**changes):
    table = pd.DataFrame(
        {"patient_id": ["P0", "P0", "P1"], "visit": ["a", "b", "a"], "fold": [0, 0, 1], "truth": [0, 0, 1]}
    )
    return table.assign(**changes)


def test_another_visit_of_a_known_patient_has_the_patients_fold(tmp_path):
    scans = pd.DataFrame({"patient_id": ["P0", "P9"], "visit": ["c", "a"], "disabled": [1, 1]})
    assert folds_of(cross_validation(), scans, tmp_path / "cross_validation.csv") == {"P0": 0, "P1": 1}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (cross_validation(fold=[0, 1, 1]), "expected each patient in one fold, found P0 in two"),
        (cross_validation(truth=[0, 0, 0]), r"patient P1, visit a with disabled 1.*found 0.*--other-cohort"),
    ],
)
def test_scans_that_contradict_the_training_are_refused(table, told, tmp_path):
    scans = pd.DataFrame({"patient_id": ["P1"], "visit": ["a"], "disabled": [1]})
    with pytest.raises(TableError, match=told):
        folds_of(table, scans, tmp_path / "cross_validation.csv")


def test_comparable_maps_have_a_mean_size_of_one_and_empty_ones_stay_empty():
    found = comparable(np.array([0, 1, -3, 0], np.float32))
    assert np.abs(found[found != 0]).mean() == pytest.approx(1)
    assert not comparable(np.zeros(3, np.float32)).any()
