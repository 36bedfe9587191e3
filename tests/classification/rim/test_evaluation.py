"""Comparison of rim classifiers: tables, figures and page. Oracles: the statistics (equal to R), and counts by hand."""

import argparse
import json

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.classification.rim import evaluation
from nnunet_ms.classification.rim.evaluation import evaluate_rims
from nnunet_ms.classification.rim.evaluation_tables import RESULTS, Resampling
from nnunet_ms.classification.rim.published import PAPER, PUBLISHED, RERUN, published_for
from nnunet_ms.errors import OptionError
from nnunet_ms.statistics.ranked_areas import average_precision, partial_auc
from nnunet_ms.tables import read_table

FIGURES = ("roc", "precision_recall", "calibration", "counts")
AREAS = [("proc_auc", partial_auc), ("pr_auc_average_precision", average_precision)]


def lesions(models=("qsmrimnet", "aprl"), n=240, patients=12):
    """Scores of some models: the first ranks better. Five folds by patient."""
    rng = np.random.default_rng(0)
    patient = np.arange(n) % patients
    label = (rng.random(n) < 0.2).astype(float)
    frames = []
    for number, model in enumerate(models):
        score = rng.normal(size=n) + (2.5 - number) * label - 1
        frame = pd.DataFrame({"patient_id": [f"P{k:02d}" for k in patient], "visit": "base"})
        frame["lesion_id"] = np.arange(n) // patients + 1
        frames.append(
            frame.assign(
                label=label, probability=1 / (1 + np.exp(-score)), threshold=0.5, fold=patient % 5, model=model
            )
        )
    return pd.concat(frames)  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rim")
    table = folder / "cross_validation.csv"
    lesions().to_csv(table, index=False)
    results = evaluate_rims([table], folder / "out", data_note="simulated", replicates=60)
    return folder, results


@pytest.fixture
def not_written(monkeypatch):
    """Figures that are drawn, by name; writing them takes most of the time."""
    drawn = {}

    def keep(figure, _folder, stem):
        drawn[stem] = figure

    monkeypatch.setattr("nnunet_ms.plotting.style.save_figure", keep)
    return drawn


def value(results, measure, model="qsmrimnet", scope="pooled", versus=""):
    keys = {"model": model, "measure": measure, "scope": scope, "versus": versus}
    rows = results[np.logical_and.reduce([results[name] == key for name, key in keys.items()])]
    assert len(rows) == 1
    return rows.iloc[0]


def test_every_file_is_written(evaluated):
    folder, _ = evaluated
    pictures = {
        f"{name}.{kind}" for name in ("roc", "precision_recall", "calibration", "counts") for kind in ("png", "svg")
    }
    tables = {"results.csv", "counts.csv", "left_out.csv", "published.csv"}
    assert {path.name for path in (folder / "out").iterdir()} == {*pictures, *tables, "settings.json", "evaluation.md"}
    assert json.loads((folder / "out" / "settings.json").read_text())["data_note"] == "simulated"


def test_the_table_is_its_table(evaluated):
    folder, results = evaluated
    written = read_table(folder / "out" / "results.csv", RESULTS)
    assert len(written) == len(results)
    assert set(written["data"]) == {"simulated"}
    assert not written.duplicated(list(RESULTS.key)).any()


@pytest.mark.parametrize("model", ["qsmrimnet", "aprl"])
@pytest.mark.parametrize(
    ("measure", "function"), [("proc_auc", partial_auc), ("pr_auc_average_precision", average_precision)]
)
def test_areas_pooled_and_by_fold(evaluated, model, measure, function):
    _, results = evaluated
    rows = lesions().query("model == @model")
    by_fold = []
    for fold in (None, 0, 1, 2, 3, 4):
        part = rows if fold is None else rows[rows["fold"] == fold]
        expected = function(part["probability"][part["label"] == 1], part["probability"][part["label"] == 0])
        found = value(results, measure, model, "pooled" if fold is None else f"fold {fold}")
        assert found["estimate"] == pytest.approx(expected)
        assert (found["lesions"], found["rim_lesions"]) == (len(part), part["label"].sum())
        by_fold += [expected] if fold is not None else []
    mean = value(results, measure, model, "mean of folds")
    assert (mean["estimate"], mean["sd"]) == pytest.approx((np.mean(by_fold), np.std(by_fold, ddof=1)))


def test_decisions_and_counts(evaluated):
    folder, results = evaluated
    rows = lesions().query("model == 'aprl'").assign(called=lambda d: d["probability"] >= 0.5)
    hits = (rows["called"] & (rows["label"] == 1)).sum()
    assert value(results, "sensitivity", "aprl")["estimate"] == pytest.approx(hits / rows["label"].sum())
    assert value(results, "ppv", "aprl")["estimate"] == pytest.approx(hits / rows["called"].sum())
    by_patient = rows.groupby("patient_id")[["label", "called"]].sum()
    squares = (by_patient["called"] - by_patient["label"]) ** 2
    assert value(results, "prl_count_mse", "aprl")["estimate"] == pytest.approx(squares.mean())
    r = np.corrcoef(by_patient["called"], by_patient["label"])[0, 1]
    assert value(results, "prl_count_r", "aprl")["estimate"] == pytest.approx(r)
    counts = pd.read_csv(folder / "out" / "counts.csv").query("model == 'aprl'")
    assert counts["counted"].tolist() == by_patient["label"].tolist()
    assert counts["predicted"].tolist() == by_patient["called"].tolist()


def test_differences_are_of_the_first_model_and_the_others(evaluated):
    _, results = evaluated
    pairs = results[results["versus"] != ""]
    assert set(zip(pairs["model"], pairs["versus"], strict=True)) == {("qsmrimnet", "aprl")}
    for measure in ("proc_auc", "pr_auc_trapezoid", "f1"):
        both = [value(results, measure, model)["estimate"] for model in ("qsmrimnet", "aprl")]
        found = value(results, measure, versus="aprl")
        assert found["estimate"] == pytest.approx(both[0] - both[1])
        assert found["low"] <= found["estimate"] <= found["high"]


def test_published_numbers_stand_beside_the_full_model_pooled_alone(evaluated):
    # Oracle: papers.md, "rim (given)".
    _, results = evaluated
    with_numbers = results[results["published"].notna() | results["rerun"].notna()]
    assert set(zip(with_numbers["model"], with_numbers["scope"], with_numbers["versus"], strict=True)) == {
        ("qsmrimnet", "pooled", "")
    }
    row = value(results, "pr_auc_average_precision")
    assert (row["published"], row["rerun"], row["rerun_sd"]) == (0.704, 0.514, 0.121)
    assert value(results, "proc_auc")["published"] == 0.760
    assert pd.isna(value(results, "proc_auc_mcclish")["published"])
    row = value(results, "prl_count_r")
    assert (row["published"], row["published_low"], row["published_high"]) == (0.89, 0.86, 0.92)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (
            (0.1, 0.02, 0.2),
            "a against b: better by this interval; difference of average precision 0.100 (0.020 to 0.200",
        ),
        ((-0.1, -0.2, -0.02), "a against b: worse by this interval; "),
        ((0.1, -0.1, 0.2), "a against b: neither better nor worse by this interval; "),
        ((0.1, np.nan, np.nan), "a and b: no interval of the difference, see `problem` in results.csv."),
    ],
)
def test_the_page_says_plainly_whether_a_model_ranks_better(limits, words):
    row = {"model": "a", "versus": "b", "measure": "pr_auc_average_precision"}
    row |= dict(zip(("estimate", "low", "high"), limits, strict=True))
    (sentence,) = evaluation._differences(pd.DataFrame([row]))
    assert sentence.startswith(words)


def test_what_papers_print_has_a_source_each():
    assert all(number.source and number.data for number in PUBLISHED)
    assert len({(p.system, p.source, p.measure) for p in PUBLISHED}) == len(PUBLISHED)
    assert published_for("qsmrimnet-no-oversampling", "proc_auc", PAPER) is None
    assert published_for("qsmrimnet", "proc_auc", RERUN) is None


def test_the_page_says_what_it_is_of_and_where_published_numbers_come_from(evaluated):
    folder, _ = evaluated
    page = (folder / "out" / "evaluation.md").read_text(encoding="utf-8")
    rim = int(lesions().query("model == 'aprl'")["label"].sum())
    assert f"simulated data, 12 patients, 240 lesions, {rim} rim+ ({100 * rim / 240:.1f} %)" in page
    assert "published, QSMRim-Net (own data)" in page
    assert "| average precision |" in page
    assert "| 0.704 | 0.514 |" in page
    assert "![roc](roc.png)" in page


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_real_or_simulated_and_of_how_many(name, not_written, tmp_path):
    drawn = not_written
    lesions(n=60).to_csv(tmp_path / "a.csv", index=False)
    evaluate_rims([tmp_path / "a.csv"], tmp_path / "out", data_note="simulated", replicates=5)
    foot = drawn[name].get_supxlabel()
    assert foot.startswith("simulated data, 12 patients, ")
    assert "60 lesions" in foot or "of 60 lesions" in foot.replace("\n", " ")
    if name == "precision_recall":
        shown = [text.get_text() for text in drawn[name].legends[0].get_texts()]
        assert shown[0].startswith("prevalence 0.")


def command(*words):
    parser = argparse.ArgumentParser()
    evaluation.add_evaluate_parser(parser.add_subparsers())
    args = parser.parse_args(["evaluate", *map(str, words)])
    return args.action(args)


@pytest.mark.usefixtures("not_written")
def test_the_command_ends_with_1_where_a_model_lacks_lesions(tmp_path, capsys):
    table = lesions()
    table.to_csv(tmp_path / "all.csv", index=False)
    short = table.query("model == 'aprl'").drop(columns="model").iloc[5:]
    short.to_csv(tmp_path / "short.csv", index=False)
    assert command(tmp_path / "all.csv", "-o", tmp_path / "a", "--replicates", 5) == 0
    assert command(tmp_path / "all.csv", tmp_path / "short.csv", "-o", tmp_path / "b", "--replicates", 5) == 1
    said = capsys.readouterr()
    assert "3 models on 235 lesions of 12 patients" in said.out
    assert "5 labelled lesions lack a score of some model" in said.err
    left_out = pd.read_csv(tmp_path / "b" / "left_out.csv")
    assert left_out[["model", "reason"]].value_counts().to_dict() == {("short", "not in the table"): 5}
    with pytest.raises(FileExistsError, match="exists already"):
        command(tmp_path / "all.csv", "-o", tmp_path / "a")
    assert command(tmp_path / "all.csv", "-o", tmp_path / "a", "--replicates", 5, "--overwrite") == 0


@pytest.mark.usefixtures("not_written")
def test_one_class_alone_and_few_patients_end_with_problems_and_not_with_numbers(tmp_path):
    for name, frame in {
        "no rim": lesions(["net"]).assign(label=0.0),
        "rims only": lesions(["net"]).assign(label=1.0),
        "two patients": lesions(["net"], n=12, patients=2),
        "constant": lesions(["net"]).assign(probability=0.3),
    }.items():
        frame.to_csv(tmp_path / "net.csv", index=False)
        results = evaluate_rims([tmp_path / "net.csv"], tmp_path / name, replicates=10)
        row = value(results, "pr_auc_average_precision", "net")
        if name == "constant":
            assert row["estimate"] == pytest.approx(row["rim_lesions"] / row["lesions"])
            assert value(results, "calibration_slope", "net")["problem"] == "all probabilities are equal: no slope"
        else:
            assert pd.isna(row["low"])
            assert row["problem"]


def test_a_table_without_a_decision_has_no_counts_and_says_why(not_written, tmp_path):
    lesions(["net"]).drop(columns="threshold").to_csv(tmp_path / "net.csv", index=False)
    results = evaluate_rims([tmp_path / "net.csv"], tmp_path / "out", replicates=5)
    assert "--threshold" in value(results, "sensitivity", "net")["problem"]
    assert set(not_written) == {*FIGURES} - {"counts"}
    results = evaluate_rims([tmp_path / "net.csv"], tmp_path / "more", threshold=0.5, replicates=5)
    assert value(results, "sensitivity", "net")["estimate"] > 0.5


@pytest.mark.usefixtures("not_written")
def test_several_visits_of_a_patient_are_said_to_narrow_the_interval_of_r(tmp_path):
    table = lesions(["net"])
    table["visit"] = np.where(table["lesion_id"] > 10, "later", "base")
    table.to_csv(tmp_path / "net.csv", index=False)
    results = evaluate_rims([tmp_path / "net.csv"], tmp_path / "out", replicates=5)
    assert value(results, "prl_count_r", "net")["problem"].startswith("12 visits are of patients with another one")


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 0.5}, {"replicates": 0}, {"replicates": 2.5}, {"seed": "a"}])
def test_numbers_of_resamples_that_cannot_be(wrong):
    with pytest.raises(OptionError, match=rf"{next(iter(wrong))}: expected a whole number >= [01], found"):
        Resampling(**wrong)
