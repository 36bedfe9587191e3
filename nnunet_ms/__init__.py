"""nnunet_ms: from the MRI of a multiple sclerosis trial to the trial's conclusions, on nnU-Net.

The import costs nothing; a name loads what it needs at its first use. Paths are texts or `pathlib.Path`.

>>> import nnunet_ms as ms

Two masks, as files, nibabel images, or arrays with `spacing` or `affine`:

>>> result = ms.evaluate_masks("reference.nii.gz", "prediction.nii.gz", rule="krishnan2023")
>>> result["tp"], result["fp"], result["fn"]
(2.0, 1.0, 1.0)
>>> figure = result.plot("flair.nii.gz")
>>> ms.lesions_in("prediction.nii.gz")["volume_ml"].round(3).tolist()  # of one mask
[0.096, 0.432, 0.012]

Folders of masks, as `nnunet-ms-evaluate` compares them:

>>> evaluation = ms.evaluate("predictions", "references", "evaluation", rater="multi_arm_t2")
>>> evaluation.agreement.set_index("metric").loc["ltpr", "mean"].round(3).item()
0.667

Several raters against each other, their consensus, and a model as one more (`nnunet-ms-evaluate --raters`):

>>> found = ms.rater_matrix({"R1": "references", "R2": "predictions"}, "raters")
>>> found.matrix[["rater", "versus"]].drop_duplicates().values.tolist()[0]
['R1', 'R2']

The same without references: lesions, volumes and, with the weeks of visits, what is new (`nnunet-ms-measure`):

>>> measured = ms.measure("predictions", "measured", rater="multi_arm_t2")
>>> measured.visits["lesion_count"].tolist()
[3]

Scans of a study become an nnU-Net dataset, with folds by patient:

>>> dataset = ms.convert("study/manifest.csv", dataset_id=801, raw="raw", channels=["flair", "t1"])
>>> dataset.summary()
'wrote raw/Dataset801_Trial: 3 cases of 3 patients, 0 left out'

A trained network on one image: probability, mask, uncertainty and lesions, which plot and save themselves; `ms.predict`
does it for a folder:

>>> model = ms.open_model("trained", device="cpu")
>>> found = model.predict({"t1": "t1.nii.gz", "flair": "flair.nii.gz", "t2": "t2.nii.gz"}, mc_samples=2, dropout=0.1)
>>> found.lesions.columns[:6].tolist(), found.probability.shape, found.uncertainty["entropy"].shape
(['lesion_id', 'voxels', 'volume_ml', 'x_mm', 'y_mm', 'z_mm'], (24, 24, 12), (24, 24, 12))
>>> mask = found.save("predicted", case_id="P1")

A trial's endpoints and their report, here of a simulated one (`ms.simulate("trial", patients=40)`):

>>> results = ms.run_trial("trial/trial.toml", "report")
>>> Path("report/index.html").is_file()
True

Statistics on data frames:

>>> patients = pd.read_csv("trial/patients.csv")
>>> weeks = patients["discontinued_week"]
>>> patients["time"], patients["event"] = weeks.fillna(96), weeks.notna()
>>> model = ms.statistics.cox(patients, "time", "event", ["arm", "age_years"], reference={"arm": "placebo"})
>>> model.table[["term", "estimate", "low", "high"]].shape  # hazard ratios of the arm and of a year of age
(2, 4)

What a user can mend is a `ms.NnunetMsError`, which says what was expected, what was found and what to do.
"""

TYPE_CHECKING = False  # type checkers take it for true; importing `typing` for it would take longer than all else here
if TYPE_CHECKING:
    from nnunet_ms import statistics as statistics
    from nnunet_ms.analysis.evaluation.evaluate import evaluate as evaluate
    from nnunet_ms.analysis.evaluation.measure import measure as measure
    from nnunet_ms.analysis.evaluation.rater_matrix import rater_matrix as rater_matrix
    from nnunet_ms.analysis.evaluation.two_masks import evaluate_masks as evaluate_masks
    from nnunet_ms.analysis.run_trial import run_trial as run_trial
    from nnunet_ms.classification.rim.dataset import rim_dataset as rim_dataset
    from nnunet_ms.classification.rim.evaluation import evaluate_rims as evaluate_rims
    from nnunet_ms.classification.rim.features import rim_features as rim_features
    from nnunet_ms.classification.rim.predict_models import predict_rims as predict_rims
    from nnunet_ms.classification.rim.train_models import train_rim_models as train_rim_models
    from nnunet_ms.classification.stratification.evaluation import evaluate_disability as evaluate_disability
    from nnunet_ms.classification.stratification.explain_models import explain_cohort as explain_cohort
    from nnunet_ms.classification.stratification.patient_risk import add_disability_risk as add_disability_risk
    from nnunet_ms.classification.stratification.predict_models import predict_disability as predict_disability
    from nnunet_ms.classification.stratification.prepared_folder import prepare_cohort as prepare_cohort
    from nnunet_ms.classification.stratification.prepared_folder import read_prepared as read_prepared
    from nnunet_ms.classification.stratification.survival_evaluation import evaluate_survival as evaluate_survival
    from nnunet_ms.classification.stratification.survival_models import train_survival_models as train_survival_models
    from nnunet_ms.classification.stratification.survival_predictions import predict_survival as predict_survival
    from nnunet_ms.classification.stratification.train_models import train_disability_models as train_disability_models
    from nnunet_ms.comparison.cohorts import compare_cohorts as compare_cohorts
    from nnunet_ms.comparison.compare_trials import compare_trials as compare_trials
    from nnunet_ms.dataset_conversion.convert import convert as convert
    from nnunet_ms.dataset_conversion.guessing import guess_source as guess_source
    from nnunet_ms.dataset_conversion.guessing import write_manifest as write_manifest
    from nnunet_ms.errors import NnunetMsError as NnunetMsError
    from nnunet_ms.learning.curve import learning_curve as learning_curve
    from nnunet_ms.lesions.rows import lesions_in as lesions_in
    from nnunet_ms.segmentation.patient_page import write_patient_page as write_patient_page
    from nnunet_ms.segmentation.scan_warnings import check_scan as check_scan
    from nnunet_ms.segmentation.segment import segment as segment
    from nnunet_ms.simulation.simulate import simulate as simulate
    from nnunet_ms.simulation.simulate import simulate_disability as simulate_disability
    from nnunet_ms.simulation.simulate import simulate_rims as simulate_rims
    from nnunet_ms.simulation.simulate import simulate_scans as simulate_scans
    from nnunet_ms.trainers.calibrate_volumes import calibrate_model as calibrate_model
    from nnunet_ms.trainers.check_models import check_model as check_model
    from nnunet_ms.trainers.pack_model import draft_model_card as draft_model_card
    from nnunet_ms.trainers.pack_model import install_model as install_model
    from nnunet_ms.trainers.pack_model import pack_model as pack_model
    from nnunet_ms.trainers.packages.installed import installed_models as installed_models
    from nnunet_ms.trainers.prediction.open_model import open_model as open_model
    from nnunet_ms.trainers.prediction.predict import predict as predict
    from nnunet_ms.trainers.training_range import read_training_range as read_training_range
    from nnunet_ms.trainers.training_range import write_training_range as write_training_range

    __version__: str

# public name -> module that it is taken from at its first use
_PLACES = {
    "NnunetMsError": "nnunet_ms.errors",
    "add_disability_risk": "nnunet_ms.classification.stratification.patient_risk",
    "calibrate_model": "nnunet_ms.trainers.calibrate_volumes",
    "check_model": "nnunet_ms.trainers.check_models",
    "check_scan": "nnunet_ms.segmentation.scan_warnings",
    "compare_cohorts": "nnunet_ms.comparison.cohorts",
    "compare_trials": "nnunet_ms.comparison.compare_trials",
    "convert": "nnunet_ms.dataset_conversion.convert",
    "draft_model_card": "nnunet_ms.trainers.pack_model",
    "evaluate": "nnunet_ms.analysis.evaluation.evaluate",
    "evaluate_disability": "nnunet_ms.classification.stratification.evaluation",
    "evaluate_masks": "nnunet_ms.analysis.evaluation.two_masks",
    "evaluate_rims": "nnunet_ms.classification.rim.evaluation",
    "evaluate_survival": "nnunet_ms.classification.stratification.survival_evaluation",
    "explain_cohort": "nnunet_ms.classification.stratification.explain_models",
    "guess_source": "nnunet_ms.dataset_conversion.guessing",
    "install_model": "nnunet_ms.trainers.pack_model",
    "installed_models": "nnunet_ms.trainers.packages.installed",
    "learning_curve": "nnunet_ms.learning.curve",
    "lesions_in": "nnunet_ms.lesions.rows",
    "measure": "nnunet_ms.analysis.evaluation.measure",
    "open_model": "nnunet_ms.trainers.prediction.open_model",
    "pack_model": "nnunet_ms.trainers.pack_model",
    "predict": "nnunet_ms.trainers.prediction.predict",
    "predict_disability": "nnunet_ms.classification.stratification.predict_models",
    "predict_rims": "nnunet_ms.classification.rim.predict_models",
    "predict_survival": "nnunet_ms.classification.stratification.survival_predictions",
    "prepare_cohort": "nnunet_ms.classification.stratification.prepared_folder",
    "rater_matrix": "nnunet_ms.analysis.evaluation.rater_matrix",
    "read_prepared": "nnunet_ms.classification.stratification.prepared_folder",
    "read_training_range": "nnunet_ms.trainers.training_range",
    "rim_dataset": "nnunet_ms.classification.rim.dataset",
    "rim_features": "nnunet_ms.classification.rim.features",
    "run_trial": "nnunet_ms.analysis.run_trial",
    "segment": "nnunet_ms.segmentation.segment",
    "simulate": "nnunet_ms.simulation.simulate",
    "simulate_disability": "nnunet_ms.simulation.simulate",
    "simulate_rims": "nnunet_ms.simulation.simulate",
    "simulate_scans": "nnunet_ms.simulation.simulate",
    "train_disability_models": "nnunet_ms.classification.stratification.train_models",
    "train_rim_models": "nnunet_ms.classification.rim.train_models",
    "train_survival_models": "nnunet_ms.classification.stratification.survival_models",
    "write_manifest": "nnunet_ms.dataset_conversion.guessing",
    "write_patient_page": "nnunet_ms.segmentation.patient_page",
    "write_training_range": "nnunet_ms.trainers.training_range",
}
_NEED_NNUNET = {
    "calibrate_model",
    "check_model",
    "check_scan",
    "draft_model_card",
    "install_model",
    "open_model",
    "pack_model",
    "predict",
    "read_training_range",
    "segment",
    "write_training_range",
}
__all__ = [
    "NnunetMsError",
    "__version__",
    "add_disability_risk",
    "calibrate_model",
    "check_model",
    "check_scan",
    "compare_cohorts",
    "compare_trials",
    "convert",
    "draft_model_card",
    "evaluate",
    "evaluate_disability",
    "evaluate_masks",
    "evaluate_rims",
    "evaluate_survival",
    "explain_cohort",
    "guess_source",
    "install_model",
    "installed_models",
    "learning_curve",
    "lesions_in",
    "measure",
    "open_model",
    "pack_model",
    "predict",
    "predict_disability",
    "predict_rims",
    "predict_survival",
    "prepare_cohort",
    "rater_matrix",
    "read_prepared",
    "read_training_range",
    "rim_dataset",
    "rim_features",
    "run_trial",
    "segment",
    "simulate",
    "simulate_disability",
    "simulate_rims",
    "simulate_scans",
    "statistics",
    "train_disability_models",
    "train_rim_models",
    "train_survival_models",
    "write_manifest",
    "write_patient_page",
    "write_training_range",
]


if not TYPE_CHECKING:  # checkers see the imports above alone, and so a misspelt name

    def __getattr__(name: str) -> object:
        """Import what a public name stands for, once."""
        from importlib import import_module

        if name == "statistics":
            return import_module("nnunet_ms.statistics")
        if name == "__version__":
            value = import_module("nnunet_ms.versions").version_of("nnunet-ms")
        elif name in _PLACES:
            if name in _NEED_NNUNET:  # one line instead of an ImportError
                import_module("nnunet_ms.nnunet").require_nnunet()
            value = getattr(import_module(_PLACES[name]), name)
        else:
            here = import_module("nnunet_ms")
            raise AttributeError(f"module 'nnunet_ms' has no attribute {name!r}", name=name, obj=here)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """The public names, for completion and for "did you mean"."""
    return sorted({*globals(), *__all__})
