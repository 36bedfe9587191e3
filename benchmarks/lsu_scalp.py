"""Is the structural uncertainty of lesions high where the brain mask holds scalp? A model, scans, and a shell of scalp.

    python benchmarks/lsu_scalp.py --model MODEL_FOLDER --images imagesTs --references labelsTs --out lsu_scalp.csv

Each skull-stripped scan is predicted twice with the same samples: as it is, and with residual scalp around one half of
the brain: a dark seam of 2 mm (skull), then 6 mm as bright as the brightest tissue of that channel, patchy, with noise,
in every channel, as a brain mask that is too wide leaves it. A predicted lesion is "scalp" if most of its voxels lie
there; one in the brain is "true" if it touches a reference lesion, else "false". Printed: lesions, their volume, mean
probability, and mean LSU (1 - mean best IoU over samples); and PSU of the scans. What it shows stands in
benchmarks/README.md.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.images.volumes import Grid, read_volume
from nnunet_ms.lesions.labelling import without_small
from nnunet_ms.trainers.prediction.image_prediction import ImagePrediction
from nnunet_ms.trainers.prediction.lesion_uncertainty import MINIMUM_VOXELS, label_sample
from nnunet_ms.trainers.prediction.open_model import OpenModel, open_model

SEAM_MM, SCALP_MM, PATCH_MM = 2.0, 6.0, 8.0


def scalp_of(brain: Bools, spacing: tuple[float, float, float], rng: np.random.Generator) -> Bools:
    """Where scalp stays: a patchy shell around the upper half of the brain, a seam away from it."""
    away = ndimage.distance_transform_edt(~brain, sampling=spacing)
    patches = ndimage.gaussian_filter(rng.normal(size=brain.shape), [PATCH_MM / one for one in spacing])
    upper = np.arange(brain.shape[2]) >= np.mean(np.nonzero(brain)[2])
    return (away > SEAM_MM) & (away <= SEAM_MM + SCALP_MM) & (patches > 0) & upper


def with_scalp(image: SingleFloats, scalp: Bools, rng: np.random.Generator) -> SingleFloats:
    """The image with scalp as bright as its brightest tissue."""
    tissue = image[image != 0]
    bright = np.percentile(tissue, 98) + 0.3 * tissue.std() * rng.normal(size=int(scalp.sum()))
    changed = image.copy()
    changed[scalp] = bright
    return changed


def rows_of(found: ImagePrediction, scalp: Bools, reference: Bools, case: str, what: str) -> list[dict[str, object]]:
    """One row per predicted lesion, with the place that it is in."""
    lesions = without_small(label_sample(found.mask > 0, Grid(found.mask.shape, found.affine)), MINIMUM_VOXELS)
    inside = np.bincount(lesions.lesion_of_voxel, scalp[lesions.voxel_axes], lesions.count) / lesions.voxels
    touched = np.bincount(lesions.lesion_of_voxel, reference[lesions.voxel_axes], lesions.count) > 0
    place = np.where(inside > 0.5, "scalp", np.where(touched, "true", "false"))
    table = found.lesions.assign(place=place)
    if not np.array_equal(table["voxels"], lesions.voxels):
        raise SystemExit(f"{case}: the lesions of the table are not those of the mask")
    columns = ["place", "volume_ml", "mean_probability", "uncertainty", "edge_share"]
    return [{"case": case, "scan": what, **row} for row in table[columns].to_dict(orient="records")]


def compared(
    model: OpenModel, images: Path, references: Path, case: str, seed: int, how: Mapping[str, object]
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Lesions and PSU of a case without and with scalp."""
    rng = np.random.default_rng([seed, *case.encode()])
    volumes = [read_volume(images / f"{case}_{n:04d}.nii.gz") for n in range(len(model.channels))]
    reference = read_volume(references / f"{case}.nii.gz").data > 0
    brain = np.logical_or.reduce([volume.data != 0 for volume in volumes])
    scalp = scalp_of(brain, volumes[0].grid.spacing, rng)
    rows, psu = [], {"case": case, "scalp_ml": float(scalp.sum()) * volumes[0].grid.voxel_volume_ml}
    for what in ("as it is", "with scalp"):
        given = [volume.data.astype(np.float32) for volume in volumes]
        if what == "with scalp":
            given = [with_scalp(image, scalp, rng) for image in given]
        channels = dict(zip(model.channels, given, strict=True))
        found = model.predict(channels, affine=volumes[0].grid.affine, maps=("entropy",), **how)  # type: ignore[arg-type]
        rows += rows_of(found, scalp, reference, case, what)
        entropy = found.uncertainty["entropy"]
        psu |= {
            f"psu {what}": float(found.patient["psu"].iloc[0]),
            f"entropy in scalp, {what}": float(entropy[scalp].mean()),
            f"entropy in brain, {what}": float(entropy[brain].mean()),
        }
    return rows, psu


def main() -> None:
    """Predict, print and write the lesions."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--references", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=10, help="how many (%(default)s)")
    parser.add_argument("--folds", nargs="+")
    parser.add_argument("--checkpoint", default="checkpoint_final.pth")
    parser.add_argument("--mc-samples", type=int, default=10)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--step-size", type=float, default=0.75)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = open_model(args.model, folds=args.folds, checkpoint=args.checkpoint, device=args.device)
    cases = sorted(path.name.removesuffix("_0000.nii.gz") for path in args.images.glob("*_0000.nii.gz"))[: args.cases]
    how = {"mc_samples": args.mc_samples, "dropout": args.dropout, "step_size": args.step_size}
    rows, scans = [], []
    for case in cases:
        found, psu = compared(model, args.images, args.references, case, 22, how)
        rows += found
        scans.append(psu)
    lesions = pd.DataFrame(rows)
    grouped = lesions.groupby(["scan", "place"])
    table = grouped[["mean_probability", "uncertainty", "edge_share"]].mean().join(grouped["volume_ml"].sum())
    table.insert(0, "lesions", grouped.size())
    print(f"{len(cases)} scans, {args.mc_samples} samples per fold")
    print(table.reset_index().to_string(index=False, float_format=lambda v: f"{v:.3f}"))
    print(pd.DataFrame(scans).drop(columns="case").mean().to_string(float_format=lambda v: f"{v:.4f}"))
    if args.out:
        lesions.round(4).to_csv(args.out, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
