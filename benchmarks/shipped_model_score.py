"""Score folds of the model that comes with the package on patients that they have not seen, for every subset.

Masks are made in the grid of the reference: the probability is brought there, linearly, and cut at 0.5.

    python benchmarks/shipped_model_score.py MODEL raw/Dataset910_MS ../shared/data scores.csv --fold 3 --cases O07 O26
    python benchmarks/shipped_model_score.py - - ../shared/data rivals.csv --rivals

Appends to the table; what is in it already is not done again. `--rivals`: the masks of other programs in MS3SEG.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import SimpleITK
import torch

import nnunet_ms as ms
from nnunet_ms.images.volumes import write_volume
from nnunet_ms.outputs import whole_file
from nnunet_ms.trainers.prediction.open_model import OpenModel

SEQUENCES = {"F": ("flair", 0), "T": ("t2", 1), "1": ("t1", 2)}
SUBSETS = ("FT1", "FT", "F1", "F", "T1", "T")
RULE = "krishnan2023"
BINS_MM3 = {"small": (0, 30), "medium": (30, 150), "large": (150, np.inf)}  # 10 and 50 voxels of 3 mm3
RIVALS = {
    "LST-LPA": "alg_LPA",
    "LST-LGA": "alg_LGA",
    "BIANCA": "alg_BIANCA",
    "WMH-SynthSeg": "alg_SynthSeg",
}


def folder_of(data: Path, patient: str) -> Path:
    """Where the images of a patient lie."""
    if patient.startswith("O"):
        return data / "open_ms_cross_sectional" / f"patient{patient[1:]}"
    return data / "ms3seg" / patient


def compared(reference: SimpleITK.Image, mask: SimpleITK.Image) -> dict[str, float]:
    """Dice, LTPR by size, LFPR and volumes."""
    found = ms.evaluate_masks(SimpleITK.Cast(reference > 0, SimpleITK.sitkUInt8), mask, rule=RULE)
    lesions, volume = found.reference_lesions, float(np.prod(reference.GetSpacing())) / 1000
    row = {"dice": found["dice"], "ltpr": found["ltpr"], "lfpr": found["lfpr"], "lesions": len(lesions)}
    for name, (low, high) in BINS_MM3.items():
        some = lesions[(lesions["volume_ml"] * 1000 >= low) & (lesions["volume_ml"] * 1000 < high)]
        row |= {f"ltpr_{name}": float(some["found"].astype(bool).mean()), f"lesions_{name}": len(some)}
    voxels = {"reference_ml": reference > 0, "predicted_ml": mask > 0}
    return row | {key: float(SimpleITK.GetArrayViewFromImage(one).sum()) * volume for key, one in voxels.items()}


def in_grid_of(probability: np.ndarray, affine: np.ndarray, reference: SimpleITK.Image) -> SimpleITK.Image:
    """Bring a probability map to the reference's grid, linearly."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "probability.nii.gz"
        write_volume(path, probability.astype(np.float32), affine)
        image = SimpleITK.ReadImage(str(path), SimpleITK.sitkFloat32)
    return SimpleITK.Resample(image, reference, SimpleITK.Transform(), SimpleITK.sitkLinear, 0.0)


def scored(model: OpenModel, case: str, subset: str, raw: Path, data: Path, flips: bool) -> dict[str, object]:
    """Predict one patient from some of its sequences and compare."""
    images = {}
    for letter in subset:
        name, number = SEQUENCES[letter]
        images[name] = raw / "imagesTr" / f"{case}_{number:04d}.nii.gz"
    found = model.predict(images, mc_samples=0, tta=flips)
    reference = SimpleITK.ReadImage(str(folder_of(data, case.split("_")[0]) / "lesion.nii.gz"))
    probability = in_grid_of(found.probability, found.affine, reference)
    mask = SimpleITK.Cast(probability > 0.5, SimpleITK.sitkUInt8)
    expected = float(SimpleITK.GetArrayViewFromImage(probability).sum()) * float(np.prod(reference.GetSpacing())) / 1000
    return {"case": case, "sequences": subset, **compared(reference, mask), "expected_ml": expected}


def rivals(data: Path) -> pd.DataFrame:
    """Masks of other programs that come with two patients of MS3SEG."""
    rows = []
    for patient in ("104252", "105755"):
        reference = SimpleITK.ReadImage(str(folder_of(data, patient) / "lesion.nii.gz"))
        for name, file in RIVALS.items():
            mask = SimpleITK.ReadImage(str(folder_of(data, patient) / f"{file}.nii.gz"))
            mask = SimpleITK.Cast(SimpleITK.Cast(mask, SimpleITK.sitkFloat32) > 0.5, SimpleITK.sitkUInt8)
            mask.CopyInformation(reference)
            rows.append({"case": patient, "program": name, **compared(reference, mask)})
    return pd.DataFrame(rows)


def lacks_t2(raw: Path, case: str) -> bool:
    """Whether the patient's T2 is a channel of zeros."""
    image = SimpleITK.ReadImage(str(raw / "imagesTr" / f"{case}_0001.nii.gz"))
    return not SimpleITK.GetArrayViewFromImage(image).any()


def score(model: Path, fold: str, cases: list[str], raw: Path, data: Path, out: Path, flips: bool) -> None:
    """Append rows for each case and subset."""
    done = pd.read_csv(out, dtype={"fold": str, "case": str}) if out.is_file() else pd.DataFrame()
    keys = {tuple(row) for row in done[["fold", "case", "sequences"]].to_numpy()} if len(done) else set()
    opened = ms.open_model(model, folds=[fold], device="cpu")
    torch.set_num_threads(1)
    for case in [f"{one}_v1" for one in cases]:
        subsets = [one for one in SUBSETS if "T" not in one or not lacks_t2(raw, case)]
        for subset in subsets:
            if (fold, case, subset) in keys:
                continue
            row = {"fold": fold, **scored(opened, case, subset, raw, data, flips)}
            done = pd.concat([done, pd.DataFrame([row])], ignore_index=True)
            with whole_file(out) as partial:
                done.to_csv(partial, index=False, float_format="%.4f")
            print(f"fold {fold} {case} {subset}: Dice {row['dice']:.3f} {row['predicted_ml']:.1f} ml", flush=True)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("raw", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fold", default="0")
    parser.add_argument("--cases", nargs="+", default=[])
    parser.add_argument("--flips", action="store_true")
    parser.add_argument("--rivals", action="store_true")
    args = parser.parse_args()
    if args.rivals:
        rivals(args.data).to_csv(args.out, index=False, float_format="%.4f")
        return
    score(args.model, args.fold, args.cases, args.raw, args.data, args.out, args.flips)


if __name__ == "__main__":
    main()
