"""Which radiomic features of a lesion tell a rim? Logistic regression on one family at a time, out of fold by patient.

    nnunet-ms-simulate rims -o rims --patients 120 && nnunet-ms-rim features rims/manifest.csv -o rim_data
    python benchmarks/rim_features_ablation.py rim_data --data-note simulated

Five folds by patient, the same for every family; features are standardised on the training patients and clipped at 5
standard deviations; ridge penalty of strength 1 / `--c`, classes weighted by their frequency; no threshold, no choice
of settings on test patients. Average precision and partial ROC area with 95 % intervals over resampled patients
(`nnunet_ms.statistics.ranked_areas`); average precision of a worthless family is the prevalence, which is printed. A
family that tells rims in a simulation shows what the simulation put there.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression

from nnunet_ms.classification.patient_folds import patient_folds
from nnunet_ms.classification.rim.lesion_set import KEYS
from nnunet_ms.statistics.ranked_areas import areas
from nnunet_ms.statistics.roc import Scores

FAMILIES = {
    "shape": "original_shape",
    "first-order of QSM": "original_firstorder",
    "GLCM of QSM": "original_glcm",
    "GLRLM of QSM": "original_glrlm",
    "QSM, without shape": "original_(?!shape)",
    "wavelets, first-order": "wavelet-..._firstorder",
    "wavelets, textures": "wavelet-..._gl",
    "wavelets": "wavelet",
    "all 527": "",
}


def probabilities(
    features: npt.NDArray[np.float64], rim: npt.NDArray[np.bool_], fold: npt.NDArray[np.int64], c: float
) -> npt.NDArray[np.float64]:
    """Of each lesion by the regression that has not seen its patient."""
    found = np.zeros(len(rim))
    for number in np.unique(fold):
        train = fold != number
        mean, sd = features[train].mean(axis=0), features[train].std(axis=0)
        scaled = np.clip((features - mean) / np.where(sd > 0, sd, 1), -5, 5)
        model = LogisticRegression(C=c, class_weight="balanced", max_iter=5000).fit(scaled[train], rim[train])
        found[~train] = model.predict_proba(scaled[~train])[:, 1]
    return found


def main() -> None:
    """Print a line per family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="that nnunet-ms-rim features wrote, with labels")
    parser.add_argument("--data-note", default="", help="what the data are, such as simulated")
    parser.add_argument("--c", type=float, default=0.01, help="inverse strength of the penalty (default: %(default)s)")
    parser.add_argument("--replicates", type=int, default=1000, help="resamples (default: %(default)s)")
    arguments = parser.parse_args()
    lesions = pd.read_csv(arguments.folder / "lesions.csv", dtype=dict.fromkeys(KEYS, str))
    features = pd.read_csv(arguments.folder / "features.csv", dtype=dict.fromkeys(KEYS, str))
    labelled = lesions["label"].notna().to_numpy()
    lesions, features = lesions[labelled], features[labelled].drop(columns=list(KEYS))
    rim, patients = lesions["label"].to_numpy() == 1, lesions["patient_id"].to_numpy(str)
    fold = patient_folds(list(patients), rim)
    print(f"{len(rim)} labelled lesions, {rim.sum()} rim+, prevalence {rim.mean():.3f}; {arguments.data_note}")
    print(f"{'family':<24}{'n':>4}  {'average precision':<24}{'pROC AUC':<24}")
    for name, pattern in FAMILIES.items():
        chosen = [column for column in features if re.match(pattern, column)]
        found = probabilities(features[chosen].to_numpy(float), rim, fold, arguments.c)
        scores = Scores(found[rim], found[~rim], patients[rim], patients[~rim])
        shown = {area.measure: area for area in areas(scores, replicates=arguments.replicates)}
        cells = [shown[measure] for measure in ("pr_auc_average_precision", "proc_auc")]
        texts = [f"{one.estimate:.3f} ({one.low:.3f} to {one.high:.3f})" for one in cells]
        print(f"{name:<24}{len(chosen):>4}  {texts[0]:<24}{texts[1]:<24}", flush=True)


if __name__ == "__main__":
    main()
