"""The step `evaluate`. Oracles: counts by hand, `roc.delong_test`, and cohorts whose winner is known."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.special

from nnunet_ms.classification.stratification.baselines import baselines
from nnunet_ms.classification.stratification.evaluation import evaluate_disability
from nnunet_ms.classification.stratification.evaluation_page import verdicts
from nnunet_ms.classification.stratification.evaluation_tables import Resampling, comparisons_table
from nnunet_ms.classification.stratification.judged_scans import read_judged
from nnunet_ms.classification.stratification.published import PUBLISHED, published_for
from nnunet_ms.classification.stratify_cli import main
from nnunet_ms.errors import OptionError

N = 140


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Scans driven by age and lesion load, 3 T scanners with more disabled patients, and a true signal beside them."""
    folder = tmp_path_factory.mktemp("cohort")
    rng = np.random.default_rng(3)
    age, lesion, hidden = rng.uniform(20, 65, N), rng.gamma(2, 5, N), rng.standard_normal(N)
    odds = -4.6 + 0.07 * age + 0.1 * lesion + 3 * hidden
    y = (rng.random(N) < scipy.special.expit(odds)).astype(int)
    scans = pd.DataFrame(
        {"patient_id": [f"P{min(k, N - 11):03d}" for k in range(N)], "visit": [f"v{k:03d}" for k in range(N)],
         "age_years": age, "sex": rng.choice(["F", "M"], N), "lesion_volume_ml": lesion, "disabled": y,
         "field_tesla": np.where(rng.random(N) < 0.3 + 0.4 * y, 3, 1.5), "brain_ml": rng.normal(1500, 90, N),
         "gm_ml": rng.normal(600, 30, N),
         "sgm_ml": rng.normal(50, 4, N), "ventricles_ml": rng.normal(30, 5, N), "brainstem_ml": rng.normal(20, 2, N)}
    )  # fmt: skip
    fold = pd.factorize(scans["patient_id"])[0] % 7
    found = baselines(scans, fold)
    noise, gm = 0.3 * np.cos(np.arange(N) * 17.0), np.sin(np.arange(N) * 29.0)
    logits = {"global": 3 * hidden + 0.05 * (age - 42), "wm": 0.05 * (age - 42) + noise, "gm": gm}
    networks = [
        scans[["patient_id", "visit"]].assign(
            model=name, fold=fold, truth=y, probability=scipy.special.expit(z), threshold=0.4
        )
        for name, z in logits.items()
    ]
    pd.concat([found.rows, *networks]).to_csv(folder / "cross_validation.csv", index=False)
    scans.to_csv(folder / "scans.csv", index=False)
    found.fits.to_csv(folder / "baselines.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def evaluated(cohort):
    arguments = ["evaluate", str(cohort), "--scans", str(cohort / "scans.csv"), "-o", str(cohort / "evaluation")]
    assert main([*arguments, "--replicates", "200", "--data-note", "simulated"]) == 0
    return cohort / "evaluation"


def test_everything_is_written(evaluated):
    names = {path.name for path in evaluated.iterdir()}
    pictures = {f"{stem}.png" for stem in ("strategies", "roc", "calibration", "decision_curve")}
    tables = {
        f"{stem}.csv" for stem in ("results", "comparisons", "calibration", "decision_curve", "left_out", "published")
    }
    assert names >= pictures | tables | {"evaluation.md", "settings.json"}
    assert json.loads((evaluated / "settings.json").read_text())["models"][:3] == ["global", "wm", "gm"]


@pytest.mark.parametrize(("decision", "threshold"), [("0.5", 0.5), ("validation", 0.4)])
def test_accuracy_and_balanced_accuracy_stand_side_by_side(cohort, evaluated, decision, threshold):
    rows = pd.read_csv(cohort / "cross_validation.csv")
    rows = rows[rows["model"] == "wm"]
    called, y = rows["probability"] >= threshold, rows["truth"] == 1
    hits, quiet = (called & y).sum() / y.sum(), (~called & ~y).sum() / (~y).sum()
    results = pd.read_csv(evaluated / "results.csv", dtype={"decision": str})
    own = results[(results["model"] == "wm") & (results["decision"] == decision)].set_index("measure")["estimate"]
    expected = [(called == y).mean(), (hits + quiet) / 2, hits, quiet]
    assert own[["accuracy", "balanced_accuracy", "sensitivity", "specificity"]].tolist() == pytest.approx(expected)


def test_intervals_of_folded_models_are_widened(evaluated):
    results = pd.read_csv(evaluated / "results.csv")
    row = results[(results["model"] == "gm") & (results["measure"] == "roc_auc") & (results["scope"] == "pooled")].iloc[
        0
    ]
    for wide, plain in (("low", "plain_low"), ("high", "plain_high")):
        assert row[wide] - row["estimate"] == pytest.approx(2**0.5 * (row[plain] - row["estimate"]))


def test_field_strength_alone_is_seen_through(evaluated):
    # what confounds ranks by the scanner; within field strengths age is all that remains of it
    results = pd.read_csv(evaluated / "results.csv")
    areas = results[(results["model"] == "confounders") & (results["measure"] == "roc_auc")].set_index("scope")[
        "estimate"
    ]
    assert areas["within field strength"] < areas["pooled"]


def test_delongs_numbers_are_of_one_scan_per_patient(cohort, evaluated):
    from nnunet_ms.statistics.roc import Scores, delong_test

    rows = pd.read_csv(cohort / "cross_validation.csv").drop_duplicates(["model", "patient_id"])  # the first visit
    wide = rows.pivot_table(index=["patient_id", "truth"], columns="model", values="probability").reset_index()
    y, names = wide["truth"].to_numpy() == 1, wide["patient_id"].to_numpy(str)
    pair = [Scores(*(wide[m].to_numpy()[part] for part in (y, ~y)), names[y], names[~y]) for m in ("global", "volumes")]
    table = pd.read_csv(evaluated / "comparisons.csv")
    row = table[(table["model"] == "global") & (table["versus"] == "volumes")].iloc[0]
    test = delong_test(*pair)
    assert (row["delong_difference"], row["delong_se"], row["delong_p"]) == pytest.approx(
        (test.difference, test.se, test.p)
    )
    assert row["patients"] == N - 10


def test_holms_p_is_over_the_networks_of_a_baseline(evaluated):
    table = pd.read_csv(evaluated / "comparisons.csv")
    rows = table[(table["question"] == "increment") & (table["versus"] == "volumes")].sort_values("p")
    p = rows["p"].to_numpy()
    assert rows["p_holm"].to_numpy() == pytest.approx(np.minimum(np.maximum.accumulate(p * [3, 2, 1]), 1))
    assert (table["question"] == "difference").sum() == 3


def test_the_page_says_who_beats_the_regression_and_who_does_not(evaluated):
    text = (evaluated / "evaluation.md").read_text()
    assert "**global beats the logistic regression" in text
    assert "- wm does not beat it" in text or "- wm is worse" in text
    assert "- gm does not beat it" in text or "- gm is worse" in text
    assert "simulated data, 130 patients, 140 scans" in text
    assert "plain accuracy, not balanced; none of these numbers was computed here" in text


def words_of(cohort, models, *, scans=True):
    """The verdicts alone: drawing takes most of the time."""
    judged = read_judged(cohort, cohort / "scans.csv" if scans else None, models=models)
    return "\n".join(verdicts(judged, comparisons_table(judged, Resampling(50))))


@pytest.mark.parametrize(
    ("models", "scans", "words"),
    [
        (["wm", "gm", "volumes"], True, "**No network beats the logistic regression"),
        (["global", "age"], True, "**Not answered:**"),
        (["volumes", "age"], True, "only baselines were compared"),
        (["global", "volumes"], False, "the predictors of volumes are not told: name scans.csv"),
    ],
)
def test_a_page_without_a_winner_says_so_or_why(cohort, models, scans, words):
    assert words in words_of(cohort, models, scans=scans)


def test_an_external_evaluation_is_frozen(cohort, tmp_path):
    # predictions without a fold, truth of the table of scans, frozen baselines: nothing is widened, nothing halved
    rows = pd.read_csv(cohort / "cross_validation.csv")
    rows = rows[rows["model"] == "global"].drop(columns=["model", "fold", "truth"])
    (tmp_path / "global").mkdir()
    rows.assign(disabled=1).to_csv(tmp_path / "global" / "predictions.csv", index=False)
    results = evaluate_disability(
        tmp_path / "global",
        tmp_path / "out",
        scans=cohort / "scans.csv",
        baselines=cohort / "baselines.csv",
        replicates=50,
    )
    assert set(results["evaluation"]) == {"frozen"}
    known = results[results["low"].notna()]
    assert (known["low"] == known["plain_low"]).all()
    table = pd.read_csv(tmp_path / "out" / "comparisons.csv")
    row = table[table["versus"] == "volumes"].iloc[0]
    assert row["p"] == pytest.approx(row["p_as_given"] / 2)
    assert "| global | 0." in (tmp_path / "out" / "evaluation.md").read_text()


def test_scans_that_a_model_has_not_judged_end_in_exit_code_1(cohort, tmp_path, capsys):
    rows = pd.read_csv(cohort / "cross_validation.csv")
    rows[~((rows["model"] == "gm") & (rows["visit"] == "v003"))].to_csv(tmp_path / "cross_validation.csv", index=False)
    assert main(["evaluate", str(tmp_path), "-o", str(tmp_path / "out"), "--replicates", "20"]) == 1
    assert "1 scans are not judged by every model" in capsys.readouterr().err


def test_options_that_cannot_be_meant(cohort, tmp_path, capsys):
    with pytest.raises(OptionError, match="replicates"):
        evaluate_disability(cohort, tmp_path / "out", replicates=0)
    assert main(["evaluate", str(cohort), "-o", str(tmp_path / "out"), "--models", "lesions"]) == 2
    assert "found 'lesions'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "measure", "evaluation", "value"),
    [
        ("global", "accuracy", "cross-validation", 0.79),
        ("global", "accuracy", "frozen", 0.71),
        ("wm", "accuracy", "frozen", 0.72),
        ("wm", "accuracy", "cross-validation", None),
        ("gm", "balanced_accuracy", "cross-validation", None),
    ],
)
def test_what_is_published_is_accuracy_of_few_models(model, measure, evaluation, value):
    found = published_for(model, measure, evaluation)
    assert (None if found is None else found.value) == value
    assert all(one.measure != "balanced_accuracy" for one in PUBLISHED)
