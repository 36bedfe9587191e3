"""Make the folder of the model that is packed: its three folds, what they have seen, calibrated volumes.

    nnunet-ms-convert ms3seg ../shared/data/ms3seg --also open_ms ../shared/data/open_ms_cross_sectional \
        --channels flair,t2,t1 --may-lack t2 --dataset-id 920 --name Orig --raw raw
    python benchmarks/shipped_model_folder.py MODEL raw/Dataset910_MS raw/Dataset920_Orig -o made

The first dataset is that of the training, in which the folds predict the patients that they have not seen; the second
has the same real scans as they were acquired: what they look like is what the model has seen.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from shipped_model_data import SLICE_MM

import nnunet_ms as ms
from nnunet_ms.trainers.training_range import write_training_range

FOLDS = ("0", "1", "2")
CHECKPOINT = "checkpoint_final.pth"


def copy_model(model: Path, acquired: Path, made: Path, folds: Sequence[str] = FOLDS) -> Path:
    """Copy what is packed, and note what nnU-Net does not: axes and appearance of the scans, linear between slices."""
    folder = made / "Dataset910_MS" / model.name
    for fold in folds:
        (folder / f"fold_{fold}").mkdir(parents=True)
        for name in (CHECKPOINT, f"{CHECKPOINT}.sha256"):
            shutil.copy(model / f"fold_{fold}" / name, folder / f"fold_{fold}")
    shutil.copy(model / "dataset_fingerprint.json", folder)
    dataset = json.loads((model / "dataset.json").read_text(encoding="utf-8"))
    dataset |= {"name": "MS", "description": "", "axes": "RAS", "spacing": [1.0, 1.0, SLICE_MM]}
    dataset["appearance"] = json.loads((acquired / "dataset.json").read_text(encoding="utf-8"))["appearance"]
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=2), encoding="utf-8")
    plans = json.loads((model / "plans.json").read_text(encoding="utf-8"))
    # the training's scans were brought to these voxels linearly, by the converter
    for name in ("resampling_fn_data_kwargs", "resampling_fn_probabilities_kwargs"):
        plans["configurations"]["3d_fullres"][name]["order_z"] = 1
    (folder / "plans.json").write_text(json.dumps(plans, indent=2), encoding="utf-8")
    return folder


def calibrate(folder: Path, raw: Path, splits: list[dict[str, list[str]]]) -> None:
    """Calibrate volumes by what each fold says of the patients that it has not seen."""
    with TemporaryDirectory() as scratch:
        outputs = []
        for fold in FOLDS:
            images = Path(scratch) / f"images_{fold}"
            images.mkdir()
            for case in splits[int(fold)]["val"]:
                for image in sorted((raw / "imagesTr").glob(f"{case}_*.nii.gz")):
                    (images / image.name).symlink_to(image.resolve())
            outputs.append(Path(scratch) / f"predicted_{fold}")
            ms.predict(images, outputs[-1], model=folder, folds=[fold], device="cpu")
        done = ms.calibrate_model(folder, predicted=outputs, references=raw / "labelsTr", folds=FOLDS)
        print(done.calibration.labels[0].measured, *done.notes, sep="\n")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of nnU-Net's results")
    parser.add_argument("raw", type=Path)
    parser.add_argument("acquired", type=Path)
    parser.add_argument("--splits", type=Path, help="splits_final.json (default: that of RAW)")
    parser.add_argument("-o", "--output", type=Path, default=Path("made"))
    args = parser.parse_args()
    splits = json.loads((args.splits or args.raw / "splits_final.json").read_text(encoding="utf-8"))
    folder = copy_model(args.model, args.acquired, args.output)
    write_training_range(folder, args.acquired)
    calibrate(folder, args.raw, splits)
    print(folder)


if __name__ == "__main__":
    main()
