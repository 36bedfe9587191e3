import os
import signal
import subprocess
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms import tables
from nnunet_ms.analysis.evaluate_cli import main
from nnunet_ms.analysis.evaluation.agreement_by_site import BY_SITE
from nnunet_ms.analysis.evaluation.agreement_by_visit import BY_VISIT
from nnunet_ms.analysis.evaluation.cohort_metrics import SIZE_BINS
from nnunet_ms.analysis.evaluation.evaluate import CHANGES, CONCORDANCE, evaluate
from nnunet_ms.analysis.evaluation.model_comparison import COMPARISON, RANKING
from nnunet_ms.analysis.evaluation.size_groups import SIZE_GROUPS
from nnunet_ms.errors import ImageError, SettingsError, TableError
from nnunet_ms.lesions.features import REGIONS
from tests.lesions.naive_matching import lesions_of, random_pair, scores

WRITTEN = {
    "lesions.csv": tables.LESIONS,
    "visits.csv": tables.VISITS,
    "agreement_cases.csv": tables.AGREEMENT_CASES,
    "agreement.csv": tables.AGREEMENT,
    "lesion_changes.csv": CHANGES,
    "concordance.csv": CONCORDANCE,
    "size_bins.csv": SIZE_BINS,
    "size_groups.csv": SIZE_GROUPS,
    "agreement_by_visit.csv": BY_VISIT,
    "agreement_by_site.csv": BY_SITE,
    "failures.csv": tables.FAILURES,
}
SEEDS = range(6)


def save(path, data, affine=None):
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(data, dtype=np.uint8), np.eye(4) if affine is None else affine), path)


@pytest.fixture
def folders(tmp_path):
    """Six cases, c0 .. c5, as folders of references and predictions."""
    for seed in SEEDS:
        reference, prediction = random_pair(seed)
        save(tmp_path / "references" / f"c{seed}.nii.gz", reference)
        save(tmp_path / "predictions" / f"c{seed}.nii.gz", prediction)
    return tmp_path / "predictions", tmp_path / "references", tmp_path / "out"


def command(folders, *more):
    predictions, references, out = folders
    return main(["--predictions", str(predictions), "--references", str(references), "-o", str(out), *more])


def cases_table(path, names):
    rows = [(name, f"p{i // 2}", f"v{i % 2}", 24.0 * (i % 2), "test") for i, name in enumerate(names)]
    tables.write_table(pd.DataFrame(rows, columns=tables.CASES.names), path)
    return path


@pytest.mark.usefixtures("no_figures")
def test_tables_can_be_read_back_and_agree_with_the_oracle(folders, capsys):
    # Oracle: naive_matching.scores per case; means and SDs by pandas from them.
    assert command(folders, "--rater", "net", "--data-note", "simulated") == 0
    read = {name: tables.read_table(folders[2] / name, table) for name, table in WRITTEN.items()}
    expected = pd.DataFrame({f"c{seed}": scores(*random_pair(seed)) for seed in SEEDS})
    found = read["agreement_cases.csv"].pivot_table(index="metric", columns="case_id", values="value")
    pd.testing.assert_frame_equal(found, expected.loc[found.index], check_names=False)
    cohort = read["agreement.csv"].set_index("metric")
    for name in expected.index:
        assert cohort.loc[name, "mean"] == pytest.approx(expected.loc[name].mean())
        assert cohort.loc[name, "sd"] == pytest.approx(expected.loc[name].std())
        assert cohort.loc[name, "n"] == expected.loc[name].notna().sum()
    assert list(cohort.index[:8]) == ["ppv", "tpr", "dice", "r_vol", "lppv", "ltpr", "lfpr", "r_count"]
    assert set(read["lesions.csv"]["rater"]) == {"reference", "net"}
    assert set(read["visits.csv"]["data_note"]) == {"simulated"}
    assert read["failures.csv"].empty
    printed = capsys.readouterr().out
    assert "krishnan2023: net against reference, t2_lesions, simulated data" in printed
    assert printed.rstrip().endswith(str(folders[2]))


@pytest.mark.usefixtures("no_figures")
def test_visits_are_the_sums_of_lesions(folders):
    evaluation = evaluate(*folders)
    sums = evaluation.lesions.groupby(["case_id", "rater"])["volume_ml"].agg(["size", "sum"])
    visits = evaluation.visits.set_index(["case_id", "rater"])
    assert (visits["lesion_count"] == sums["size"].reindex(visits.index, fill_value=0)).all()
    assert visits["volume_ml"].to_numpy() == pytest.approx(sums["sum"].reindex(visits.index, fill_value=0).to_numpy())
    assert visits["new_lesion_count"].isna().all()
    wide = evaluation.visits.pivot_table(index="case_id", columns="rater", values="volume_ml")
    cohort = evaluation.agreement.set_index("metric")
    assert cohort.loc["r_vol", "mean"] == pytest.approx(wide["reference"].corr(wide["model"]))


def test_the_named_files_and_nothing_else_with_the_same_bytes_by_any_number_of_workers(folders):
    stems = ("size_bins_krishnan2023", "size_groups_krishnan2023", "concordance_volume_ml", "concordance_lesion_count")
    figures = {f"{stem}.{suffix}" for stem in stems for suffix in ("svg", "png")}
    contents = []
    for workers in ("1", "2"):
        assert command(folders, "--workers", workers) == 0  # the second replaces the first
        contents.append({path.name: path.read_bytes() for path in folders[2].iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {*WRITTEN, *figures}
    assert {path.name for path in folders[2].parent.iterdir()} == {"references", "predictions", "out"}


@pytest.mark.usefixtures("no_figures")
def test_a_dask_cluster_writes_the_same_tables(folders):
    pytest.importorskip("distributed")
    contents = []
    for options in ((), ("--dask", "local:1")):
        assert command(folders, *options) == 0
        contents.append({path.name: path.read_bytes() for path in folders[2].iterdir()})
    assert contents[0] == contents[1]


@pytest.mark.usefixtures("no_figures")
def test_cases_table_gives_patients_and_restricts(folders, tmp_path, capsys):
    cases = cases_table(tmp_path / "cases.csv", ["c0", "c1", "c2", "c3", "elsewhere"])
    assert command(folders, "--cases", str(cases)) == 0
    visits = tables.read_table(folders[2] / "visits.csv", tables.VISITS)
    assert sorted(set(visits["case_id"])) == ["c0", "c1", "c2", "c3"]
    row = visits.set_index("case_id").loc["c3"].iloc[0]
    assert (row["patient_id"], row["visit"], row["week"]) == ("p1", "v1", 24)
    sizes = tables.read_table(folders[2] / "size_bins.csv", SIZE_BINS)
    assert set(zip(sizes["n_cases"], sizes["n_patients"], strict=True)) == {(4, 2)}
    assert "2 cases in the folders are not in the table of cases" in capsys.readouterr().out


@pytest.mark.usefixtures("no_figures")
def test_visits_and_sites_of_the_cases_table_have_tables_of_their_own(folders, tmp_path, capsys):
    # Oracle: the values of agreement_cases.csv, paired and averaged by pandas.
    path = cases_table(tmp_path / "cases.csv", [f"c{seed}" for seed in SEEDS])
    frame = pd.read_csv(path).assign(scanner=["A", "A", "A", "A", "B", "B"])
    frame.to_csv(path, index=False)
    assert command(folders, "--cases", str(path), "--site-column", "scanner", "--rules", "krishnan2023,isbi2015") == 0
    out = folders[2]
    cases = tables.read_table(out / "agreement_cases.csv", tables.AGREEMENT_CASES)
    by_visit = tables.read_table(out / "agreement_by_visit.csv", BY_VISIT)
    by_site = tables.read_table(out / "agreement_by_site.csv", BY_SITE)
    for rule in ("krishnan2023", "isbi2015"):
        dice = cases[(cases["rule"] == rule) & (cases["metric"] == "dice")]
        wide = dice.pivot_table("value", "patient_id", "visit")
        row = by_visit.query(f"rule == '{rule}' and metric == 'dice' and visit == 'v1'").iloc[0]
        assert row["difference"] == pytest.approx((wide["v1"] - wide["v0"]).mean())
        assert (row["baseline_visit"], row["n_paired"], row["week"]) == ("v0", 3, 24)
        of_sites = by_site.query(f"rule == '{rule}' and metric == 'dice'").set_index("site")
        means = dice.groupby(dice["case_id"].isin(["c4", "c5"]))["value"].mean()
        assert [of_sites.loc[name, "mean"] for name in ("A", "B")] == pytest.approx(means.to_list())
        assert of_sites.loc["B", "note"] == "1 patient: no interval below 5"
    printed = capsys.readouterr().out
    assert "dice since v0 (krishnan2023, model), same patients; agreement_by_visit.csv:" in printed
    assert "is known" not in printed


@pytest.mark.usefixtures("no_figures")
def test_what_is_not_known_of_visits_and_sites_is_said(folders, tmp_path, capsys):
    assert command(folders) == 0
    assert "no visit or site of a case is known: agreement_by_visit.csv and agreement_by_site.csv have no rows" in (
        capsys.readouterr().out
    )
    path = cases_table(tmp_path / "cases.csv", [f"c{seed}" for seed in SEEDS])
    pd.read_csv(path).assign(week="").to_csv(path, index=False)
    assert command(folders, "--cases", str(path)) == 0
    assert "agreement_by_visit.csv has no change since a baseline: no week is known" in capsys.readouterr().out
    assert command(folders, "--cases", str(path), "--baseline-visit", "v1") == 0
    assert "dice since v1" in capsys.readouterr().out
    assert command(folders, "--cases", str(path), "--baseline-visit", "v9") == 2
    assert "baseline_visit: expected one of ['v0', 'v1'], found 'v9'" in capsys.readouterr().err


@pytest.mark.usefixtures("no_figures")
def test_without_cases_table_every_case_is_a_patient(folders):
    visits = evaluate(*folders).visits
    assert (visits["patient_id"] == visits["case_id"]).all()
    assert set(visits["visit"]) == {"unknown"}
    assert visits["week"].isna().all()


@pytest.mark.usefixtures("no_figures")
def test_bad_cases_are_listed_and_the_others_go_on(folders, capsys):
    predictions, references, out = folders
    (predictions / "c0.nii.gz").unlink()
    (references / "c1.nii.gz").unlink()
    save(predictions / "c2.nii.gz", random_pair(2)[1], np.diag([1, 1, 2, 1]))
    save(predictions / "c3.nii.gz", 2 * random_pair(3)[1])
    damaged = predictions / "c4.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-60])
    save(predictions / "extra.nii.gz", np.zeros((3, 3, 3, 2)))
    save(references / "extra.nii.gz", np.zeros((3, 3, 3, 2)))
    soft = np.where(random_pair(4)[1], 0.999, 0).astype(np.float32)
    for name, data in (("soft", soft), ("label", (293 * random_pair(4)[1]).astype(np.int16))):
        save(references / f"{name}.nii.gz", random_pair(4)[0])
        nib.save(nib.Nifti1Image(data, np.eye(4)), predictions / f"{name}.nii.gz")
    save(references / "empty.nii.gz", random_pair(4)[0])
    (predictions / "empty.nii.gz").touch()
    save(references / "shift.nii.gz", random_pair(4)[0])
    save(predictions / "shift.nii.gz", random_pair(4)[1], np.array([[1, 0, 0, 0.5], *np.eye(4)[1:].tolist()]))
    assert command(folders) == 1
    reasons = tables.read_table(out / "failures.csv", tables.FAILURES).set_index("case_id")["reason"]
    for case, reason in {
        "c0": "no prediction",
        "c1": "no reference",
        "c2": "expected the grid of",
        "c3": "values [0, 1], found 2",
        "c4": "c4.nii.gz",
        "extra": "3-D image, found shape",
        "soft": "values [0, 1], found 0.999",
        "label": "values [0, 1], found 293",
        "empty": "empty.nii.gz",
        "shift": "expected the grid of",
    }.items():
        assert reason in reasons[case]
    assert len(reasons) == 10
    assert set(pd.read_csv(out / "visits.csv")["case_id"]) == {"c5"}
    errors = capsys.readouterr().err
    assert errors.count("nnunet-ms-evaluate: case ") == 10
    assert "Traceback" not in errors


@pytest.mark.usefixtures("no_figures")
def test_masks_without_lesions(tmp_path):
    for folder in ("references", "predictions"):
        save(tmp_path / folder / "a.nii.gz", np.zeros((5, 5, 5)))
    evaluation = evaluate(tmp_path / "predictions", tmp_path / "references", tmp_path / "out")
    assert evaluation.visits["lesion_count"].tolist() == [0, 0]
    assert (evaluation.agreement["n_undefined"] == 1).all()
    for name, table in WRITTEN.items():
        tables.read_table(tmp_path / "out" / name, table)


@pytest.mark.usefixtures("no_figures")
def test_one_case_without_lesions_among_others(folders):
    save(folders[0] / "c0.nii.gz", np.zeros((14, 13, 12)))
    save(folders[1] / "c0.nii.gz", np.zeros((14, 13, 12)))
    agreement = evaluate(*folders).agreement.set_index("metric")
    assert agreement.loc["dice", ["n", "n_undefined"]].tolist() == [5, 1]
    assert agreement.loc["r_vol", ["n", "n_undefined"]].tolist() == [6, 0]


def test_no_case_in_common(folders, capsys):
    predictions, _, out = folders
    for path in predictions.iterdir():
        path.rename(predictions / f"other_{path.name}")
    assert command(folders) == 2
    assert "found no case with both" in capsys.readouterr().err
    assert not out.exists()


def test_no_readable_case(folders):
    for path in folders[0].iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"none of 6 cases could be evaluated. c0: .*c0.nii.gz"):
        evaluate(*folders)
    assert not folders[2].exists()


def test_missing_folder(folders):
    with pytest.raises(SettingsError, match="nowhere: expected a folder of <case_id>"):
        evaluate(folders[0].parent / "nowhere", *folders[1:])


@pytest.mark.parametrize("rater", ["reference", " "])
def test_rater_needs_a_name_of_its_own(folders, rater):
    with pytest.raises(SettingsError, match="expected the model's name"):
        evaluate(*folders, rater=rater)


def test_cases_table_without_patient(folders, tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text("case_id,visit\nc0,v0\n")
    with pytest.raises(TableError, match="cases needs columns"):
        evaluate(*folders, cases=path)


def test_foreign_folder_is_left_alone(folders):
    folders[2].mkdir()
    (folders[2] / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match=r"found thesis.txt. Choose another output folder"):
        evaluate(*folders)
    assert (folders[2] / "thesis.txt").read_text() == "years of work"


def test_output_below_a_file(folders):
    folders[2].write_text("a file")
    for out in (folders[2], folders[2] / "below"):
        with pytest.raises(SettingsError, match="out is a file"):
            evaluate(*folders[:2], out)


@pytest.mark.usefixtures("no_figures")
def test_an_error_while_writing_keeps_the_earlier_evaluation(folders, monkeypatch):
    command(folders)
    before = {path.name: path.read_bytes() for path in folders[2].iterdir()}
    monkeypatch.setattr("nnunet_ms.analysis.evaluation.evaluate.save_figure", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command(folders, "--rater", "other")
    assert {path.name: path.read_bytes() for path in folders[2].iterdir()} == before
    assert not [path for path in folders[2].parent.iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("no_figures")
def test_a_killed_run_leaves_no_output_and_the_next_one_clears_up(folders):
    stop_in_writing = (
        "import sys, time\n"
        "from nnunet_ms.analysis import evaluate_cli\n"
        "from nnunet_ms.analysis.evaluation import evaluate\n"
        "evaluate.save_figure = lambda *_: (print('writing', flush=True), time.sleep(60))\n"
        "evaluate_cli.main(sys.argv[1:])\n"
    )
    names = ("--predictions", "--references", "-o")
    arguments = [text for name, folder in zip(names, folders, strict=True) for text in (name, str(folder))]
    process = subprocess.Popen([sys.executable, "-c", stop_in_writing, *arguments], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not folders[2].exists()
    assert command(folders) == 0
    assert {path.name for path in folders[2].parent.iterdir()} == {"references", "predictions", "out"}


def test_help_is_quick_and_has_an_example():
    code = "import sys; from nnunet_ms.analysis.evaluate_cli import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "example:\n  nnunet-ms-evaluate --predictions" in done.stdout
    assert not [name for name in ("numpy", "pandas", "matplotlib", "cc3d") if f" {name}\n" in done.stderr]


def test_unknown_rule_is_one_line(folders, capsys):
    assert command(folders, "--rules", "mystery") == 2
    error = capsys.readouterr().err
    assert (error.count("\n"), "krishnan2023" in error) == (1, True)


@pytest.mark.usefixtures("no_figures")
def test_change_between_visits_fills_the_visits_table(folders, tmp_path):
    # Oracle: lesion_change (tested against a naive loop) on the two masks of a patient; week 0 has no visit before.
    from nnunet_ms.lesions.change import change_columns, lesion_change
    from tests.lesions.naive_matching import volume

    cases = cases_table(tmp_path / "cases.csv", [f"c{seed}" for seed in SEEDS])
    evaluation = evaluate(*folders, cases=cases)
    visits = evaluation.visits.set_index(["case_id", "rater"])
    for seed in SEEDS:
        for rater, place in (("reference", 0), ("model", 1)):
            row = visits.loc[(f"c{seed}", rater)]
            if seed % 2 == 0:
                assert np.isnan(row["new_volume_ml"])
                continue
            change = lesion_change(volume(random_pair(seed - 1)[place]), volume(random_pair(seed)[place]))
            expected = change_columns(change)
            assert row[list(expected)].to_dict() == pytest.approx(expected)
            assert (row["previous_visit"], row["previous_week"], row["change_note"]) == ("v0", 0, "")
    changes = tables.read_table(folders[2] / "lesion_changes.csv", CHANGES)
    counted = (
        changes[(changes["change"] == "new") & (changes["mask"] == "followup")].groupby(["case_id", "rater"]).size()
    )
    new = visits["new_lesion_count"].dropna()
    assert (counted.reindex(new.index, fill_value=0) == new).all()


@pytest.mark.usefixtures("no_figures")
def test_visits_on_different_grids_are_not_compared_and_say_why(folders, tmp_path, capsys):
    cases = cases_table(tmp_path / "cases.csv", ["c0", "c1"])
    for folder, masks in zip(folders[:2], random_pair(1)[::-1], strict=True):
        save(folder / "c1.nii.gz", masks, np.diag([1, 1, 2, 1]))
    assert command(folders, "--cases", str(cases)) == 0
    visits = tables.read_table(folders[2] / "visits.csv", tables.VISITS).set_index("case_id")
    assert visits["new_lesion_count"].isna().all()
    assert all("expected the grid of" in note for note in visits.loc["c1", "change_note"])
    assert "2 rows of visits.csv could not be compared" in capsys.readouterr().out


@pytest.mark.usefixtures("no_figures")
def test_label_images_give_one_row_set_per_lesion_type(folders):
    # Oracle: evaluating each label's own mask.
    for folder in folders[:2]:
        for seed in SEEDS:
            data = np.asarray(nib.load(folder / f"c{seed}.nii.gz").dataobj).copy()
            data[7:] *= 2
            save(folder / f"c{seed}.nii.gz", data)
    assert command(folders, "--labels", "t1_unenhancing=1,t1_enhancing=2") == 0
    visits = tables.read_table(folders[2] / "visits.csv", tables.VISITS)
    expected = {"t1_unenhancing": slice(0, 7), "t1_enhancing": slice(7, None)}
    for name, half in expected.items():
        rows = visits[(visits["lesion_type"] == name) & (visits["rater"] == "reference")].set_index("case_id")
        for seed in SEEDS:
            mask = np.zeros((14, 13, 12), dtype=bool)
            mask[half] = random_pair(seed)[0][half]
            assert rows.loc[f"c{seed}", "lesion_count"] == len(lesions_of(mask))
    agreement = tables.read_table(folders[2] / "agreement.csv", tables.AGREEMENT)
    assert set(agreement["lesion_type"]) == set(expected)


@pytest.mark.usefixtures("no_figures")
def test_several_models_in_one_call(folders, tmp_path, capsys):
    # Oracle: each model evaluated alone gives the same agreement.
    predictions, references, out = folders
    named = ("--predictions", f"net={predictions}", "--predictions", f"perfect={references}")
    assert main([*named, "--references", str(references), "-o", str(out), "--rules", "krishnan2023,msseg2016"]) == 0
    together = pd.read_csv(out / "agreement.csv")
    alone = evaluate(predictions, references, tmp_path / "alone", rater="net", rules=("krishnan2023", "msseg2016"))
    numbers = ["metric", "mean", "sd", "n", "low", "high"]
    pd.testing.assert_frame_equal(
        together.loc[together["rater"] == "net", numbers].reset_index(drop=True),
        alone.agreement[numbers].reset_index(drop=True),
        check_dtype=False,
    )
    ranking = tables.read_table(out / "ranking.csv", RANKING)
    first = ranking[(ranking["metric"] == "dice") & (ranking["place"] == 1)]
    assert set(first["rater"]) == {"perfect"}
    comparison = tables.read_table(out / "comparison.csv", COMPARISON).set_index(["rule", "metric"])
    values = pd.read_csv(out / "agreement_cases.csv")
    wide = values[(values["rule"] == "krishnan2023") & (values["metric"] == "dice")].pivot_table(
        index="case_id", columns="rater", values="value"
    )
    expected = (wide["net"] - wide["perfect"]).mean()
    assert comparison.loc[("krishnan2023", "dice"), "difference"] == pytest.approx(expected)
    lesions = pd.read_csv(out / "lesions.csv")
    assert lesions.loc[lesions["rater"] == "reference", "found_by_perfect"].astype(bool).all()
    assert "place 1 (krishnan2023): perfect" in capsys.readouterr().out
    single = evaluate(predictions, references, out)  # replaces it, with nothing of the comparison left
    assert not (single.out / "ranking.csv").exists()


@pytest.mark.usefixtures("no_figures")
def test_cases_with_and_without_reference_lesions_are_never_pooled(folders):
    # By hand: c0's reference is empty, so its predicted lesions are counted and its Dice is not.
    save(folders[1] / "c0.nii.gz", np.zeros((14, 13, 12)))
    evaluation = evaluate(*folders, rules=("msseg2_2021",))
    rows = evaluation.agreement.set_index("metric")
    assert rows["n"].to_dict() == {"f1": 5, "dice": 5, "tested_lesions": 1, "tested_volume_mm3": 1}
    assert rows.loc["dice", "subset"] == "cases with reference lesions"
    assert rows.loc["tested_lesions", "subset"] == "cases without reference lesions"


@pytest.mark.usefixtures("no_figures")
def test_isbi_score_is_the_published_weighting(folders):
    # Oracle: the weights of the challenge paper, on the means of the table.
    means = evaluate(*folders, rules=("isbi2015",)).agreement.set_index("metric")["mean"]
    expected = means["dice"] / 8 + means["ppv"] / 8 + (1 - means["lfpr"]) / 4 + means["ltpr"] / 4 + means["r_vol"] / 4
    assert means["isbi15_raw"] == pytest.approx(expected)


@pytest.mark.usefixtures("no_figures")
def test_a_map_may_have_the_name_of_no_column(folders):
    # Oracle: the columns that the command writes without maps, with two models and regions.
    predictions, references, out = folders
    models, regions = {"a": predictions, "b": predictions}, dict.fromkeys(REGIONS, references)
    evaluate(models, references, out, regions=regions)
    columns = pd.read_csv(out / "lesions.csv", nrows=0).columns
    assert {"location", "infratentorial_share", "found_by_a"} <= set(columns)
    for name in [*columns, "Volume_ML", " rater "]:
        with pytest.raises(SettingsError, match=rf"--map {name.strip()}: lesions\.csv has a column of this name"):
            evaluate(models, references, out, maps={name: references})
    with pytest.raises(SettingsError, match=r"--map Prob: lesions\.csv has a column"):
        evaluate(models, references, out, maps={"prob": references, "Prob": references})
    evaluate(models, references, out, maps={"uncertainty": references})
    assert "uncertainty" in pd.read_csv(out / "lesions.csv", nrows=0).columns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--labels", "a=1,b"), "--labels: expected such as"),
        (("--labels", "a=1,b=1"), "labels: expected different whole numbers"),
        (("--map", "probability"), "--map: expected NAME=DIR"),
        (("--map", "volume_ml=."), "--map volume_ml: lesions.csv has a column of this name"),
        (("--region", "thalamus=."), "regions: expected some of"),
        (("--region", "ventricles=nowhere"), "nowhere: expected a folder of images"),
        (("--predictions", "other=."), "--predictions: expected NAME=DIR"),
        (("--rules", "krishnan2023,krishnan2023"), "expected different names"),
    ],
)
def test_bad_options_are_one_line(folders, capsys, options, message):
    assert command(folders, *options) == 2
    error = capsys.readouterr().err
    assert (error.count("\n"), message in error) == (1, True)
    assert not folders[2].exists()
