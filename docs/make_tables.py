"""Write `tables.md`, the data dictionary of every table that the commands write: `python docs/make_tables.py`.

Columns come from the `Table` objects of the package where a table has one, their words and units from its vocabulary.
`tests/test_tables_page.py` compares the page with this script, and the script with what the commands write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ms import tables
from nnunet_ms.analysis.concordance_table import CONCORDANCE
from nnunet_ms.analysis.endpoints import estimands, rater_concordance
from nnunet_ms.analysis.evaluation import lesion_roc, model_comparison, rater_tables, uncertainty_tables
from nnunet_ms.analysis.evaluation.agreement_by_location import BY_LOCATION
from nnunet_ms.analysis.evaluation.agreement_by_site import BY_SITE
from nnunet_ms.analysis.evaluation.agreement_by_visit import BY_VISIT
from nnunet_ms.analysis.evaluation.cohort_metrics import SIZE_BINS
from nnunet_ms.analysis.evaluation.size_groups import SIZE_GROUPS
from nnunet_ms.analysis.trial import (
    exclusions,
    outcomes,
    populations,
    rim_counts,
    timed_tests,
    visit_windows,
    zero_volumes,
)
from nnunet_ms.analysis.trial.assessments import CONFLICT_COLUMNS
from nnunet_ms.classification.rim import cohort, dataset, evaluation_tables, lesion_set, scored_lesions
from nnunet_ms.classification.stratification import (
    baselines,
    explain_randomised,
    explain_regions,
    explain_scans,
    judged_scans,
    prediction_tables,
    prepared_folder,
    study_folds,
    survival_results,
    survival_tables,
    survival_targets,
)
from nnunet_ms.classification.stratification import evaluation_tables as disability_tables
from nnunet_ms.classification.stratification.cohort import DISABILITY_MANIFEST
from nnunet_ms.comparison.cohorts import COHORTS
from nnunet_ms.comparison.common_ground import DIFFERENCES
from nnunet_ms.comparison.effects import EFFECTS, POOLED
from nnunet_ms.learning import curve_tables, scoring
from nnunet_ms.learning.curve import RUNS
from nnunet_ms.lesions.change import CHANGE_COUNTS, CHANGE_VOLUMES
from nnunet_ms.lesions.lesion_labels import LABEL_POINTS, PROBLEMS
from nnunet_ms.lesions.visits import CHANGES as LESION_CHANGES
from nnunet_ms.segmentation.places import PLACES
from nnunet_ms.simulation.images.disability_files import DISABILITY_TRUTH
from nnunet_ms.simulation.images.lesion_tables import TRUTH_COLUMNS
from nnunet_ms.simulation.images.rim_files import RIM_TRUTH
from nnunet_ms.simulation.images.scan_files import SCANS_TRUTH
from nnunet_ms.tables import Table
from nnunet_ms.trainers.prediction.rim_tables import COLUMNS as RIM_COLUMNS
from nnunet_ms.trainers.prediction.voxel_uncertainty import MEASURES
from nnunet_ms.vocabulary import meaning_of

PAGE = Path(__file__).resolve().parent / "tables.md"
STATISTICS = ("mean", "log_mean", "log_sum")


@dataclass(frozen=True)
class Output:
    """One file: what a row is, its `Table` where it has one, and columns that the command adds."""

    file: str
    row: str
    table: Table | None = None
    more: Sequence[str] = ()
    note: str = ""

    @property
    def sense(self) -> str:
        """Name by which the vocabulary tells narrower senses apart."""
        return self.table.name if self.table else Path(self.file).stem

    @property
    def columns(self) -> list[str]:
        """Every column, those of the `Table` first."""
        own = self.table.names if self.table else []
        return [*own, *(name for name in self.more if name not in own)]


CASE_ROW = "case, rater and lesion type"
CHANGES = (*CHANGE_COUNTS, *CHANGE_VOLUMES, "previous_visit", "previous_week", "change_note")
TOGETHER = ("new_or_enlarging_volume_ml", "resolved_or_shrinking_lesion_count", "resolved_or_shrinking_volume_ml")
BOX = [f"{axis}_{end}" for end in ("first", "last") for axis in "xyz"]
MEASURE_COLUMNS = [f"{measure}_{how}" for measure in MEASURES for how in STATISTICS]
CURVE = ("arm", "week", "n_risk", "n_event", "survival", "low", "high")
ADAM = ("STUDYID", "USUBJID", "TRT01P")
MANY_CHANNELS = "`source_*` and `sha256_*`: one pair for every channel and for the label."

INPUTS = [
    Output("manifest.csv", "visit", tables.MANIFEST, note="Also an output of `nnunet-ms-simulate`."),
    Output("patients.csv", "patient", tables.PATIENTS, note="Further columns can be strata, subgroups or populations."),
    Output("assessments.csv", "assessment", tables.ASSESSMENTS, note="Either `week` or `date`."),
    Output("relapses.csv", "relapse", tables.RELAPSES, note="Either `week` or `date`."),
    Output(
        "region_names.csv", "label of a map of regions", tables.REGION_NAMES,
        note="`--region-names` of `nnunet-ms-evaluate`; several labels may share a name.",
    ),
    Output(
        "volumes.csv", "held-out case and lesion type", tables.HELD_OUT_VOLUMES,
        note="`--cases` of `nnunet-ms-model calibrate`: `cases.csv` of predictions with `reference_volume_ml` beside.",
    ),
]  # fmt: skip
CONVERT = [
    Output(
        "cases.csv",
        "case",
        tables.CASES,
        (
            *("resampled", "rewritten", "absent", "site", "source", "steps"),
            *("baseline_visit", "baseline_week", "registration", "correlation_before", "correlation_after"),
            *("flag", "lesions_lost"),
            *("source_*", "sha256_*"),
        ),
        note=f"{MANY_CHANNELS} `baseline_visit` to `lesions_lost`: of pairs (`--pairs`).",
    ),
]
PREDICT = [
    Output(
        "lesions.csv",
        "lesion of the predicted mask",
        tables.LESIONS,
        (
            "mean_probability",
            *MEASURE_COLUMNS,
            "edge_share",
            "lsu_plus",
            *BOX,
            "rim_score",
            "rim_share",
            "rim",
            "rule",
            "data_note",
        ),
        note="`lsu_plus` with `--fold-thresholds`; `rim_score`, `rim_share`, `rim` of models of core and rim.",
    ),
    Output(
        "cases.csv",
        "case and lesion type",
        tables.PREDICTED_CASES,
        (
            *("n_samples", "lesion_count", "volume_ml", "expected_volume_ml", "mean_lsu"),
            *("volume_ml_sd", "volume_ml_low", "volume_ml_high", "lesion_count_sd"),
            *(f"{measure}_mean" for measure in MEASURES),
            *("calibrated_volume_ml", "calibrated_lower_ml", "calibrated_upper_ml", "volume_calibration_note"),
            *("psu_plus", "prl_count", "data_note"),
        ),
        note="`calibrated_*` of models with a volume calibration (calibrated_volumes.md). "
        "`psu_plus` with `--fold-thresholds`; `prl_count` of models of core and rim. "
        "Spreads over samples are blank with one sample.",
    ),
    Output(
        "visits.csv",
        CASE_ROW,
        tables.COUNTED_VISITS,
        ("mask_volume_ml", *CHANGES, *TOGETHER, "rule", "data_note"),
        note="Names with `_or_` stand in tables of models of pairs that do not tell these kinds of change apart; "
        "`nnunet-ms-endpoints` reads the first.",
    ),
    Output("lesion_changes.csv", "lesion of either of two visits", LESION_CHANGES),
    Output(
        "rim_lesions.csv",
        "lesion, of models of lesion core and rim",
        None,
        RIM_COLUMNS,
        note="What `nnunet-ms-rim evaluate` reads; `probability` is `rim_score`. Parts of confluent lesions are "
        "lesions here; `lesions.csv` has the highest score of a component's parts.",
    ),
    Output("failures.csv", "case that could not be predicted", tables.FAILURES),
]
SEGMENT = [
    Output(
        "lesions.csv of segment",
        "lesion",
        tables.LESIONS,
        ("location", "ventricles_mm", "cortex_mm", "infratentorial_share"),
        note="And those of `nnunet-ms-predict`; the three after `location` are blank where it is unknown.",
    ),
    Output(
        "places.csv",
        "visit, lesion type and place, those without a lesion too",
        PLACES,
        note="`unknown` alone where places are not told ([how they are](lesion_places.md)).",
    ),
]
MEASURE = [
    Output(
        "lesions.csv",
        "lesion",
        tables.LESIONS,
        (*BOX, *("location", "ventricles_mm", "cortex_mm", "infratentorial_share"), "rule", "data_note"),
        note="`--map NAME=DIR` adds a column NAME, the mean of that map over the lesion; `location` and the columns "
        "after it with `--region`.",
    ),
    Output("visits.csv", CASE_ROW, tables.VISITS, ("mask_volume_ml", *CHANGES, "rule", "data_note")),
    Output("lesion_changes.csv", "lesion of either of two visits", LESION_CHANGES),
    Output("failures.csv", "case that could not be measured", tables.FAILURES),
]
EVALUATE = [
    Output(
        "lesions.csv",
        "lesion of the reference or a model",
        tables.LESIONS,
        (
            *BOX,
            *("found", "overlap_voxels", "lesion_dice", "distance_mm", "found_by_*"),
            *("location", "ventricles_mm", "cortex_mm", "infratentorial_share"),
            *("brain_region", "brain_region_share", "rule", "data_note"),
        ),
        note="`--map NAME=DIR` adds a column NAME, the mean of that map over the lesion; `location` and the columns "
        "after it with `--region`, `brain_region` with `--region-labels`.",
    ),
    Output("visits.csv", CASE_ROW, tables.VISITS, ("mask_volume_ml", *CHANGES, "rule", "data_note")),
    Output("lesion_changes.csv", "lesion of either of two visits", LESION_CHANGES),
    Output("agreement_cases.csv", "case, rater, lesion type, rule and metric", tables.AGREEMENT_CASES),
    Output(
        "agreement.csv",
        "rater, lesion type, rule and metric",
        tables.AGREEMENT,
        ("se", "low", "high", "subset"),
        note="Intervals take patients as clusters.",
    ),
    Output("concordance.csv", "statistic of volumes or counts", CONCORDANCE),
    Output(
        "agreement_by_visit.csv",
        "metric and visit",
        BY_VISIT,
        note="Without rows where no visit is known; the baseline is the visit with the earliest week, or "
        "`--baseline-visit`.",
    ),
    Output(
        "agreement_by_site.csv",
        "metric and site",
        BY_SITE,
        note="Without rows where no site is known; the site is the column `site` of cases.csv, or `--site-column`.",
    ),
    Output("agreement_by_location.csv", "location class or region", BY_LOCATION, note="With `--region` or "
           "`--region-labels`; of the first rule."),
    Output("size_bins.csv", "group of lesion sizes", SIZE_BINS),
    Output("size_groups.csv", "group of lesion sizes, metric and way of averaging", SIZE_GROUPS),
    Output("cohorts.csv", "cohort, group of lesion sizes, metric and way of averaging", COHORTS,
           note="Instead of all others with `--cohorts`."),
    Output("failures.csv", "case that could not be evaluated", tables.FAILURES),
    Output("comparison.csv", "pair of models and metric", model_comparison.COMPARISON, note="With several models."),
    Output("ranking.csv", "model and metric", model_comparison.RANKING, note="With several models."),
    Output("lesion_auc/lesion_auc.csv", "statistic of ROC curves", lesion_roc.LESION_AUC, note="With `--lesion-auc`."),
    Output(
        "lesion_auc/lesion_candidates.csv",
        "candidate",
        None,
        (
            *("case_id", "patient_id", "visit", "week", "lesion_type", "components", "candidate", "truth"),
            *("counted", "rater", "volume_ml", "score", "lesion_dice", "rule", "data_note"),
        ),
        note="With `--lesion-auc`.",
    ),
    Output(
        "uncertainty/calibration.csv", "bin of probability", uncertainty_tables.CALIBRATION, ("data_note",),
        note="With `--uncertainty`.",
    ),
    Output(
        "uncertainty/retention.csv", "point of a curve", uncertainty_tables.RETENTION, ("data_note",),
        note="With `--uncertainty`.",
    ),
    Output(
        "uncertainty/uncertainty.csv", "number", uncertainty_tables.UNCERTAINTY, ("data_note",),
        note="With `--uncertainty`.",
    ),
]  # fmt: skip
RATERS = [
    Output("rater_matrix.csv", "pair of raters and metric", rater_tables.RATER_MATRIX),
    Output("rater_cases.csv", "case, pair of raters and metric", rater_tables.RATER_CASES),
    Output("rater_sizes.csv", "pair of raters and group of lesion sizes", rater_tables.RATER_SIZES),
    Output("williams.csv", "rater or model and agreement", rater_tables.WILLIAMS),
    Output("staple.csv", "rater and rate", rater_tables.STAPLE_RATES),
    Output("staple_cases.csv", "case and rater", rater_tables.STAPLE_CASES),
    Output("missing_raters.csv", "case that a rater has no mask of", rater_tables.MISSING_RATERS),
    Output("failures.csv", "case that could not be compared", tables.FAILURES),
]
ENDPOINTS = [
    Output("endpoints.csv", "statistic; every number of the report is here", tables.ENDPOINTS),
    Output("contents.csv", "table or listing", None, ("number", "title", "file")),
    Output("estimands.csv", "attribute of the estimand of an endpoint", None, estimands.COLUMNS),
    Output("audit/patients.csv", "patient: the table as it was used", None, ("patient_id", "arm")),
    Output("audit/exclusions.csv", "patient or visit left out", None, exclusions.EXCLUSION_COLUMNS),
    Output("audit/populations.csv", "patient outside a population", None, populations.COLUMNS),
    Output("audit/visit_windows.csv", "scan that is not at its planned week", None, visit_windows.COLUMNS),
    Output("audit/baseline_conflicts.csv", "patient whose EDSS at week 0 is not edss_baseline", None, CONFLICT_COLUMNS),
    Output("audit/prl_counts.csv", "patient, where rim lesions are counted", None, rim_counts.LISTING),
    Output("audit/timed_tests.csv", "timed test that lacks some of its trials", None, timed_tests.COLUMNS),
    Output("audit/zero_volumes.csv", "volume of 0 ml", None, zero_volumes.COLUMNS),
    Output("audit/rater_pairs.csv", "visit, model and quantity", None, rater_concordance.COLUMNS),
    Output(
        "audit/t2_volume_percent_change.csv",
        "patient, rater and visit",
        None,
        ("patient_id", "arm", "rater", "week", "baseline_ml", "volume_ml", "percent_change"),
    ),
    Output("audit/OUTCOME.csv", "patient", None, outcomes.COLUMNS, note="One file per outcome, such as `cdp24.csv`."),
    Output("tables/km_by_arm_OUTCOME.csv", "step of a Kaplan-Meier curve", None, CURVE),
    Output(
        "tables/km_curves_OUTCOME.csv",
        "step of a Kaplan-Meier curve of a half of the patients by baseline volume",
        None,
        ("outcome", "rater", "arm", "term", *CURVE[1:]),
    ),
    Output(
        "tables/arm_along_tlv_OUTCOME.csv",
        "arm and baseline volume",
        None,
        ("arm", "tlv_ml", "hazard_ratio", "low", "high", "rater"),
    ),
]
SIMULATE = [
    Output("lesions.csv", "lesion of the reference or the simulated reader", tables.LESIONS),
    Output("visits.csv", "case, rater and lesion type", tables.VISITS),
    Output("lesion_truth.csv", "simulated lesion at a visit", None, TRUTH_COLUMNS),
    Output(
        "adam/adsl.csv",
        "subject",
        None,
        (
            *("STUDYID", "USUBJID", "SUBJID", "TRT01P", "TRT01A", "AGE", "AGEU", "SEX", "REGION1", "EDSSBL", "PRLBL"),
            *("ITTFL", "SAFFL", "RANDDT", "TRTSDT", "TRTEDT", "TRTEDY", "EOTSTT"),
        ),
    ),
    Output(
        "adam/adqs.csv",
        "subject, parameter and visit",
        None,
        (
            *ADAM,
            *("PARAMCD", "PARAM", "AVISIT", "AVISITN", "ADT", "ADY", "ABLFL", "AVAL", "BASE", "CHG", "PCHG"),
        ),
    ),
    Output(
        "adam/adtte.csv",
        "subject and outcome",
        None,
        (*ADAM, *("PARAMCD", "PARAM", "AVAL", "AVALU", "CNSR", "EVNTDESC", "STARTDT", "ADT", "ADY")),
    ),
    Output(
        "adam/admri.csv",
        "subject, evaluator, parameter and scan",
        None,
        (*ADAM, *("EVALID", "PARAMCD", "PARAM", "AVISIT", "AVISITN", "ADT", "ADY", "ABLFL", "AVAL", "PREVWK")),
        note="PARAMCD: `T2NEW`, `T2ENL` and `T2NEWENL` (new, enlarging, and new or enlarging T2 lesions since the scan "
        "before), `T1NEW`, `GDLES`, `T2VOL`.",
    ),
]
COMPARE = [
    Output("effects.csv", "trial, endpoint, rater, contrast and statistic", EFFECTS),
    Output("differences.csv", "difference and trial", DIFFERENCES),
    Output("pooled.csv", "endpoint, rater, statistic and model", POOLED, note="With `--pool`."),
]
LEARNING_CURVE = [
    Output("scores.csv", "study, model and metric", scoring.SCORES),
    Output("learning_curve.csv", "model and metric", curve_tables.CURVE),
    Output("comparisons.csv", "test", curve_tables.COMPARISONS, note="Tests and families: new_lesions.md."),
    Output("runs.csv", "training", RUNS),
    Output("failures.csv", "training, model or study that is in none of the above", tables.FAILURES),
]
RIM = [
    Output("manifest.csv", "visit", cohort.RIM_MANIFEST, note="Input. `labels` names a table of points, or an image."),
    Output("labels.csv", "label", LABEL_POINTS, note="Input: points in lesions."),
    Output("truth.csv", "simulated lesion", RIM_TRUTH, note="Of `nnunet-ms-simulate rims`."),
    Output("label_problems.csv", "label that is not that of one lesion", PROBLEMS),
    Output(
        "lesions.csv",
        "lesion",
        lesion_set.DATASET_LESIONS,
        note="Of `features`; `train` and `predict` need the keys and `label`.",
    ),
    Output(
        "features.csv",
        "lesion, in the order of lesions.csv",
        None,
        (
            *lesion_set.KEYS,
            *("original_shape_*", "original_firstorder_*", "original_glcm_*", "original_glrlm_*"),
            *("wavelet-*_firstorder_*", "wavelet-*_glcm_*", "wavelet-*_glrlm_*"),
        ),
        note="527 features, named as PyRadiomics names them ([rim.md](rim.md#features)).",
    ),
    Output("rim_visits.csv", "visit", dataset.DATASET_VISITS),
    Output("failures.csv", "visit or lesion that could not be measured", tables.FAILURES),
    Output("cross_validation.csv", "model and labelled lesion", lesion_set.CROSS_VALIDATION),
    Output(
        "rim_lesions.csv",
        "lesion",
        scored_lesions.PREDICTIONS,
        note="Input of `evaluate`, which `train`, `predict` and segmented rims give; `label`, `threshold`, `rim`, "
        "`fold` and `model` may be missing.",
    ),
    Output("lesions.csv of --labels", "lesion", scored_lesions.LABELS, note="Input of `evaluate`."),
    Output("results.csv", "model, scope and measure", evaluation_tables.RESULTS),
    Output("counts.csv", "model and visit", evaluation_tables.COUNTS),
    Output("left_out.csv", "model and lesion that it is not compared on", scored_lesions.LEFT_OUT),
]
STRATIFICATION = [
    Output("truth.csv", "simulated scan", DISABILITY_TRUTH, note="Of `nnunet-ms-simulate disability`."),
    Output("manifest.csv", "scan", DISABILITY_MANIFEST, note="Input of `prepare`."),
    Output("scans.csv", "scan that is ready", prepared_folder.PREPARED_SCANS),
    Output("left_out.csv", "scan and strategy whose networks do not see it", prepared_folder.LEFT_OUT),
    Output("failures.csv", "scan that could not be prepared", tables.FAILURES),
    Output("folds.csv", "patient", study_folds.STUDY_FOLDS, note="Also the input of `--folds-file`."),
    Output("cross_validation.csv", "model and scan", prediction_tables.CROSS_VALIDATION),
    Output("baselines.csv", "model, fold and term", baselines.BASELINE_FITS),
    Output("FILE of --folds-file", "patient or scan", study_folds.STUDY_FOLDS, note="Input of `train`."),
    Output("predictions.csv", "scan", prediction_tables.PREDICTIONS),
    Output("explained_scans.csv", "scan and method", explain_scans.EXPLAINED, note="Of `explain`, as the next three."),
    Output("relevance.csv", "scan, method and region", explain_regions.RELEVANCE),
    Output("regions.csv", "method, group of scans and region", explain_regions.RANKED_REGIONS),
    Output("randomisation.csv", "scan, method and comparison", explain_randomised.RANDOMISATION),
    Output("atlas names", "label", explain_regions.ATLAS_NAMES, note="Input of `explain --atlas-names`."),
    Output("TABLE of evaluate", "model and scan", judged_scans.JUDGED, note="Input: either of the two, or your own."),
    Output("scans.csv of --scans", "scan", judged_scans.SCANS, note="Input: that of `prepare`."),
    Output("results.csv", "model, scope, decision and measure", disability_tables.RESULTS),
    Output("comparisons.csv", "question and two models", disability_tables.COMPARISONS),
    Output("calibration.csv", "model and group of scans", disability_tables.CURVE),
    Output("decision_curve.csv", "model and threshold", disability_tables.BENEFIT),
    Output("left_out.csv of evaluate", "model and scan that it has not judged", judged_scans.LEFT_OUT),
]
SURVIVAL = [
    Output("targets.csv", "patient", survival_targets.TARGETS),
    Output("cross_validation.csv", "model, patient and week", survival_tables.SURVIVAL_CROSS_VALIDATION),
    Output("results.csv", "model, measure and week", survival_results.SURVIVAL_RESULTS),
    Output("predictions.csv", "scan and week", survival_tables.SURVIVAL_PREDICTIONS),
]
CHAPTERS = {
    "Input: the trial": INPUTS,
    "nnunet-ms-convert": CONVERT,
    "nnunet-ms-predict": PREDICT,
    "nnunet-ms-segment": SEGMENT,
    "nnunet-ms-evaluate": EVALUATE,
    "nnunet-ms-evaluate --raters": RATERS,
    "nnunet-ms-measure": MEASURE,
    "nnunet-ms-endpoints run": ENDPOINTS,
    "nnunet-ms-endpoints compare": COMPARE,
    "nnunet-ms-learning-curve": LEARNING_CURVE,
    "nnunet-ms-rim": RIM,
    "nnunet-ms-stratify": STRATIFICATION,
    "nnunet-ms-stratify --task survival": SURVIVAL,
    "nnunet-ms-simulate": SIMULATE,
    "nnunet-ms-simulate scans": [Output("truth.csv", "synthetic scan", SCANS_TRUTH)],
}
HEAD = """# Tables

Every column of every table that the commands read and write, with its unit. This page is made by
`python docs/make_tables.py` from `nnunet_ms/tables.py` and `nnunet_ms/vocabulary.py`; a test compares them.

Tables are CSV in UTF-8, or Parquet when the file's name ends in `.parquet`. A blank cell means that there is no value.
Text that a spreadsheet would run as a formula begins with an apostrophe. A unit of 1 means a pure number or a count.
The report's own tables, `tables/*.csv` and `.rtf` of `nnunet-ms-endpoints`, hold the text of the page, with arms or
raters as columns; numbers for further work are in `endpoints.csv`.
"""


def page() -> str:
    """Text of `tables.md`."""
    return "\n".join([HEAD, *(line for title, outputs in CHAPTERS.items() for line in _chapter(title, outputs))])


def _chapter(title: str, outputs: Sequence[Output]) -> Iterator[str]:
    yield f"## {title}\n"
    for output in outputs:
        about = [f"One row per {output.row}.", _unique(output.table), output.note]
        yield f"### {output.file}\n\n{' '.join(filter(None, about))}\n"
        needed = outputs is INPUTS
        yield "| column | unit | what |" + (" needed |\n|---|---|---|---|" if needed else "\n|---|---|---|")
        yield from (_line(output, name, needed=needed) for name in output.columns)
        yield ""


def _unique(table: Table | None) -> str:
    names = ", ".join(f"`{name}`" for name in table.key) if table else ""
    return f"No two rows share {names}." if names else ""


def _line(output: Output, name: str, *, needed: bool) -> str:
    meaning = meaning_of(name, output.sense)
    cells = [f"`{name}`", meaning.unit, meaning.words]
    if needed and output.table is not None:
        column = next(c for c in output.table.columns if c.name == name)
        cells.append("no" if not column.required else "yes, single cells may be blank" if column.blank else "yes")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
