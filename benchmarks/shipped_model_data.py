"""Data of the model that comes with the package: ten real patients and synthetic scans in one nnU-Net raw dataset.

Real: 8 patients of MS3SEG (two without T2) and 2 of open_ms, CC-BY. Synthetic: label maps of SynthSeg (Apache-2.0) with
lesion masks of 27 open_ms patients; those of the two patients whose images are used are left out: no fold learns them.

    python benchmarks/shipped_model_data.py ../shared/data raw --scans 72
    nnUNetv2_plan_and_preprocess -d 910 -pl nnUNetPlannerMS -overwrite_target_spacing 1.5 1 1 \
        -overwrite_plans_name nnUNetPlansMS -c 3d_fullres
    python benchmarks/shipped_model_data.py ../shared/data raw --folds-into $nnUNet_preprocessed/Dataset910_MS

Resumes: scans that are there are left alone.
"""

import argparse
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import SimpleITK

from nnunet_ms import convert
from nnunet_ms.images.itk import to_itk
from nnunet_ms.images.resample import smoothed
from nnunet_ms.images.volumes import Grid, read_volume
from nnunet_ms.synthesis.label_maps import HeadMap, prepare_map
from nnunet_ms.synthesis.lesion_masks import LesionMask, prepare_mask
from nnunet_ms.synthesis.scan import synthetic_scan

CHANNELS = ("flair", "t2", "t1")
SLICE_MM = 1.5  # in RAS, 1 mm in plane: at 3 mm the masks of open_ms themselves come back with a Dice of .73 and .87
NAME, NUMBER = "Dataset910_MS", 910
OF_OPEN_MS = ("patient07", "patient26")
SEED = 7
# three folds by patient; the sizes of lesions and both scanners are in each of the first and third
FOLDS = (
    ("101228", "104899", "107130", "O26"),
    ("104252", "106639", "110218"),
    ("104670", "105755", "O07"),
)


def manifest(data: Path) -> pd.DataFrame:
    """One row per real patient; paths below `data`."""
    rows = []
    for folder in [*sorted((data / "ms3seg").glob("1*")), *(data / "open_ms_cross_sectional" / p for p in OF_OPEN_MS)]:
        is_open = folder.name in OF_OPEN_MS
        t2 = folder / "T2w.nii.gz"
        rows.append(
            {
                "patient_id": f"O{folder.name[-2:]}" if is_open else folder.name,
                "visit": "v1",
                "week": 0,
                "flair": str(folder.relative_to(data) / "FLAIR.nii.gz"),
                "t2": str(t2.relative_to(data)) if t2.is_file() else "",
                "t1": str(folder.relative_to(data) / "T1w.nii.gz"),
                "t2_lesions": str(folder.relative_to(data) / "lesion.nii.gz"),
                "brain_mask": "" if is_open else str(folder.relative_to(data) / "brain.nii.gz"),
            }
        )
    return pd.DataFrame(rows)


def convert_real(data: Path, target: Path) -> None:
    """Write the real patients; a channel that is not there is one of zeros, which our networks know as absent."""
    rows = manifest(data)
    kinds = {
        "no_t2": (rows["t2"] == "", ("flair", "t1"), {"apply_brain_mask": True}),
        "masked": ((rows["t2"] != "") & (rows["brain_mask"] != ""), CHANNELS, {"apply_brain_mask": True}),
        "stripped": (rows["brain_mask"] == "", CHANNELS, {}),
    }
    for number, (which, channels, settings) in enumerate(kinds.values(), start=901):
        with TemporaryDirectory() as scratch:
            (Path(scratch) / "data").symlink_to(data.resolve())
            table = Path(scratch) / "manifest.csv"
            here = rows[which].copy()
            for column in ("flair", "t2", "t1", "t2_lesions", "brain_mask"):
                here[column] = [f"data/{one}" if one else "" for one in here[column]]
            here.to_csv(table, index=False)
            steps = {"spacing": (1.0, 1.0, SLICE_MM), **settings}
            convert(table, "trial", dataset_id=number, raw=Path(scratch) / "raw", channels=channels, steps=steps)
            take_over(next((Path(scratch) / "raw").iterdir()), channels, target)


def take_over(dataset: Path, channels: tuple[str, ...], target: Path) -> None:
    """Copy the cases of one dataset into the common one, channels in its order."""
    for label in sorted((dataset / "labelsTr").glob("*.nii.gz")):
        case = label.name.removesuffix(".nii.gz")
        shutil.copy(label, target / "labelsTr")
        for number, channel in enumerate(CHANNELS):
            image = target / "imagesTr" / f"{case}_{number:04d}.nii.gz"
            if channel in channels:
                shutil.copy(dataset / "imagesTr" / f"{case}_{channels.index(channel):04d}.nii.gz", image)
            else:
                flair = SimpleITK.ReadImage(str(dataset / "imagesTr" / f"{case}_0000.nii.gz"), SimpleITK.sitkFloat32)
                SimpleITK.WriteImage(flair * 0, str(image), useCompression=True)


def write_scans(data: Path, target: Path, count: int) -> None:
    """Write synthetic scans; each is drawn from its own number."""
    heads = [
        prepare_map(np.asarray(one.data), one.grid, name=path.name)
        for path in sorted((data / "synthseg_labels").glob("*.nii.gz"))
        for one in [read_volume(path)]
    ]
    masks = [
        prepare_mask(np.asarray(one.data) > 0, one.grid, name=path.name)
        for path in sorted((data / "open_ms_masks").glob("*_lesion.nii.gz"))
        if path.name[:9] not in OF_OPEN_MS
        for one in [read_volume(path)]
    ]
    for number in range(count):
        if not (target / "labelsTr" / f"S{number:03d}_v1.nii.gz").is_file():
            write_scan(number, heads, masks, target)
            print(f"scan {number + 1} of {count}", flush=True)


def write_scan(number: int, heads: list[HeadMap], masks: list[LesionMask], target: Path) -> None:
    """Write one scan; its label last, so that what has a label is complete."""
    rng = np.random.default_rng([SEED, number])
    lesions = [masks[int(rng.integers(len(masks)))]]
    if lesions[0].volume_ml < 4 and rng.random() < 0.6:  # two of few lesions
        lesions.append(masks[int(rng.integers(len(masks)))])
    scan = synthetic_scan(heads[number % len(heads)], lesions, rng)
    case = f"S{number:03d}_v1"
    brain = onto_slices(scan.brain, scan.grid) > 0.5
    for channel, name in enumerate(CHANNELS):
        image = onto_slices(scan.images[name], scan.grid)
        masked = SimpleITK.Mask(image, brain)
        SimpleITK.WriteImage(masked, str(target / "imagesTr" / f"{case}_{channel:04d}.nii.gz"), useCompression=True)
    lesion = SimpleITK.Cast(onto_slices(scan.lesion, scan.grid) > 0.5, SimpleITK.sitkUInt8)
    SimpleITK.WriteImage(lesion, str(target / "labelsTr" / f"{case}.nii.gz"), useCompression=True)


def onto_slices(values: np.ndarray, grid: Grid) -> SimpleITK.Image:
    """Bring an array of 1 mm to slices of `SLICE_MM`."""
    affine = grid.affine.copy()
    affine[:3, 2] *= SLICE_MM
    affine[:3, 3] += grid.affine[:3, 2] * (SLICE_MM - 1) / 2
    coarse = Grid((*grid.shape[:2], int(grid.shape[2] / SLICE_MM)), affine)
    image = smoothed(to_itk(values.astype(np.float32), grid), grid, coarse)
    like = to_itk(np.zeros(coarse.shape, np.float32), coarse)
    return SimpleITK.Resample(image, like, SimpleITK.Transform(), SimpleITK.sitkLinear, 0.0)


def folds(cases: list[str]) -> list[dict[str, list[str]]]:
    """Three folds with four draws of five real, without open_ms and without MS3SEG with half, synthetic scans alone."""
    synthetic = [case for case in cases if case.startswith("S")]
    real = [case for case in cases if not case.startswith("S")]
    of_open = [case for case in real if case.startswith("O")]
    of_ms3seg = [case for case in real if not case.startswith("O")]

    def mixed(some: list[str], real_per_synthetic: int = 1) -> list[str]:
        return sorted(some * max(1, round(real_per_synthetic * len(synthetic) / len(some)))) + synthetic

    held_out = [[case for case in real if case.split("_")[0] in fold] for fold in FOLDS]
    splits = [{"train": mixed([case for case in real if case not in fold], 4), "val": fold} for fold in held_out]
    splits.append({"train": mixed(of_ms3seg), "val": of_open})
    splits.append({"train": mixed(of_open), "val": of_ms3seg})
    splits.append({"train": synthetic, "val": real})
    return splits


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--scans", type=int, default=72)
    parser.add_argument("--folds-into", type=Path)
    args = parser.parse_args()
    target = args.raw / NAME
    if args.folds_into:
        cases = sorted(path.name.removesuffix(".nii.gz") for path in (target / "labelsTr").glob("*.nii.gz"))
        (args.folds_into / "splits_final.json").write_text(json.dumps(folds(cases), indent=1))
        return
    for name in ("imagesTr", "labelsTr"):
        (target / name).mkdir(parents=True, exist_ok=True)
    convert_real(args.data, target)
    write_scans(args.data, target, args.scans)
    cases = sorted(path.name.removesuffix(".nii.gz") for path in (target / "labelsTr").glob("*.nii.gz"))
    content = {
        "channel_names": dict(enumerate(CHANNELS)),
        "labels": {"background": 0, "lesion": 1},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "patients": {case: case.split("_")[0] for case in cases},
    }
    (target / "dataset.json").write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
