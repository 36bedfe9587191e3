"""What the simulated cohort of rims looks like, how well confluent lesions come apart, and what FLAIR masks cost.

`nnunet-ms-simulate rims -o COHORT --patients 120 --seed 0`, then `python benchmarks/rim_simulation.py COHORT docs`
writes `rim_simulated.png` there and prints the tables of docs/rim.md. About ten minutes on one core. Needs
scikit-learn.
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from nnunet_ms.classification.rim.case_images import read_case
from nnunet_ms.classification.rim.cohort import read_cohort
from nnunet_ms.classification.rim.lesion_boxes import RimLesion, visit_lesions
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.lesions.components import find_components
from nnunet_ms.lesions.confluent import Labels, split_confluent
from nnunet_ms.simulation.images.rim_files import MANIFESTS, RIM_TRUTH
from nnunet_ms.tables import read_table

SHOWN = {"rim+, closed rim": "rim", "rim-, uniformly bright": "bright", "rim-, as white matter": "iso"}
REACH = 24  # voxels around a lesion's centre, in the plane


def examples(folder: Path) -> dict[str, pd.Series]:
    """One lesion of each kind, strong ones first, and one with a vein."""
    truth = read_table(folder / "truth.csv", RIM_TRUTH)
    truth = truth[truth["voxels"].between(111, 299)]
    plain = truth[(truth["vein"] == "none") & (truth["base_ppb"] != 0)]
    chosen = {}
    for title, kind in SHOWN.items():
        of_kind = plain[plain["kind"] == kind]
        best = of_kind.sort_values("rim_ppb" if kind == "rim" else "base_ppb", ascending=False)
        chosen[title] = (best[best["rim_cover"] == 1] if kind == "rim" else best).iloc[3]
    opened = plain[(plain["kind"] == "rim") & (plain["rim_cover"] < 0.75)]
    chosen["rim+, open rim"] = opened.sort_values("rim_ppb", ascending=False).iloc[0]
    veins = truth[truth["kind"] == "iso"]
    chosen["rim-, vein through it"] = brightest(folder, veins[veins["vein"] == "central"])
    return chosen


def brightest(folder: Path, rows: pd.DataFrame) -> pd.Series:
    """Of the first lesions that one whose middle slice shows most of its vein."""
    shown = [float(np.sort(cut(folder, row, "qsm", 6).ravel())[-12:].mean()) for _, row in rows.iloc[:30].iterrows()]
    return rows.iloc[int(np.argmax(shown))]


def cut(folder: Path, row: pd.Series, name: str, reach: int = REACH) -> npt.NDArray[np.generic]:
    """The middle slice of a lesion, (2 reach, 2 reach)."""
    volume = read_volume(folder / "images" / row["patient_id"] / row["visit"] / f"{name}.nii.gz")
    place = np.linalg.inv(volume.grid.affine) @ [row["x_mm"], row["y_mm"], row["z_mm"], 1]
    x, y, z = np.rint(place[:3]).astype(int)
    return volume.data[max(x - reach, 0) : x + reach, max(y - reach, 0) : y + reach, z]


def picture(folder: Path) -> Figure:
    """QSM at +-150 ppb and FLAIR of each example, with the mask that was drawn on FLAIR."""
    rows = examples(folder)
    figure = Figure(figsize=(2.1 * len(rows), 4.6), layout="constrained")
    axes = figure.subplots(2, len(rows))
    for column, (title, row) in enumerate(rows.items()):
        axes[0, column].imshow(cut(folder, row, "qsm").T, cmap="gray", vmin=-150, vmax=150, origin="lower")
        flair = cut(folder, row, "flair")
        axes[1, column].imshow(flair.T, cmap="gray", vmin=0, vmax=float(flair.max()), origin="lower")
        axes[1, column].contour(cut(folder, row, "flair_lesions").T, [0.5], colors="tab:cyan", linewidths=0.8)
        axes[0, column].set_title(title, fontsize=8)
    for axis in axes.ravel():
        axis.set_axis_off()
    return figure


def splitting(folder: Path, manifest: str) -> pd.DataFrame:
    """Lesions of the mask, true lesions that share one with another, and those that are cut, before and after."""
    counts = pd.DataFrame(0, index=["components", "split"], columns=["lesions", "sharing", "cut"])
    for case in read_cohort(folder / manifest):
        images, ids = read_case(case), read_volume(case.qsm.parent / "lesion_ids.nii.gz").data
        components = find_components(images.lesions)
        both = {
            "components": components.painted(np.arange(1, components.count + 1, dtype=np.int32)),
            "split": split_confluent(images.lesions, images.grid.spacing),
        }
        for name, labels in both.items():
            counts.loc[name] += one_patient(labels, ids)
    return counts


def one_patient(labels: Labels, ids: Labels) -> tuple[int, int, int]:
    """Counts of `splitting` for one patient: (lesions of 30 voxels or more, sharing, cut)."""
    owners, cut = {}, 0
    for number in np.unique(ids[ids > 0]):
        found = np.bincount(labels[ids == number], minlength=2)
        whole = found.sum()
        found[0] = 0
        if found.any():
            owners.setdefault(int(found.argmax()), []).append(number)
        cut += int((found >= 0.25 * whole).sum() > 1)
    sharing = sum(len(group) for group in owners.values() if len(group) > 1)
    return int((np.bincount(labels.ravel())[1:] >= 30).sum()), sharing, cut


def numbers_of(lesion: RimLesion) -> list[float]:
    """Nine first-order numbers of a lesion's QSM and volume, and its inner less its outer half."""
    values = lesion.qsm_ppb[lesion.mask].astype(float)
    depth = ndimage.distance_transform_edt(np.pad(lesion.mask, 1), sampling=lesion.spacing_mm)[1:-1, 1:-1, 1:-1]
    inner = depth[lesion.mask] > np.median(depth[lesion.mask])
    skew = ((values - values.mean()) ** 3).mean() / values.std() ** 3
    spread = np.percentile(values, [10, 25, 50, 75, 90])
    return [values.mean(), values.std(), *spread, lesion.voxels, skew, values[~inner].mean() - values[inner].mean()]


def forest(folder: Path, manifest: str) -> None:
    """Out-of-fold PR AUC and ROC AUC of a random forest by 9 and by 10 numbers, folds by patient."""
    lesions = [one for case in read_cohort(folder / manifest) for one in visit_lesions(case).lesions]
    labelled = [one for one in lesions if not np.isnan(one.label)]
    rows = np.array([numbers_of(one) for one in labelled])
    labels = np.array([one.label for one in labelled])
    patients = [one.patient_id for one in labelled]
    print(f"{manifest}: {len(lesions)} lesions, {len(labelled)} with a label, {int(labels.sum())} rim+")
    for count in (9, 10):
        model = RandomForestClassifier(500, random_state=0)
        scores = cross_val_predict(
            model, rows[:, :count], labels, groups=patients, cv=GroupKFold(5), method="predict_proba"
        )[:, 1]
        precision, area = average_precision_score(labels, scores), roc_auc_score(labels, scores)
        print(
            f"  forest of {count} numbers: PR AUC {precision:.3f}, ROC AUC {area:.3f}, prevalence {labels.mean():.3f}"
        )


if __name__ == "__main__":
    cohort, out = Path(sys.argv[1]), Path(sys.argv[2])
    picture(cohort).savefig(out / "rim_simulated.png", dpi=75)
    for name in MANIFESTS:
        print(name, splitting(cohort, name), sep="\n")
        forest(cohort, name)
