"""Two real patients through a joint T1 model: open_ms 07 and 26 (T1, T1 post contrast, T2, FLAIR; no T1 truth).

Converts, predicts with a model of `joint_t1_opera2.py` or `joint_t1_synthetic.py` (trained on simulated scans only) and
draws one picture: T1 before and after contrast agent and FLAIR, in the slices with most of each predicted type, cropped
to the brain, with outlines. A look, not a measurement: nobody has marked T1 lesions in these scans.

    python benchmarks/joint_t1_real.py --data ../shared/data/open_ms_cross_sectional --model MODEL --picture out.png
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.plotting.style import COLOURS, style

CASES = ("patient07", "patient26")
SHOWN = {"T1": 0, "T1 after contrast agent": 1, "FLAIR": 2}  # title -> channel
TYPES = {"unenhancing": (1, COLOURS[5]), "enhancing": (2, COLOURS[1])}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the steps that are not done and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/open_ms_cross_sectional"))
    parser.add_argument("--model", type=Path, required=True, help="folder TRAINER__PLANS__3d_fullres, fold `all`")
    parser.add_argument("--work", type=Path, default=Path("runs/joint_t1_real"))
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--trained-on", default="simulated scans", help="for the title (%(default)s)")
    args = parser.parse_args(argv)
    images, masks = args.work / "raw" / "Dataset809_OpenMS" / "imagesTr", args.work / "masks"
    if not images.exists():
        options = ("--channels", "t1,t1post,flair,t2", "--dataset-id", 809, "--raw", args.work / "raw", "--folds", 2)
        call("nnunet-ms-convert", "open_ms", args.data, *options)
    if not (masks / "cases.csv").exists():
        options = ("--mc-samples", 0, "--no-tta", "--no-pictures", "--rater", "joint_t1", "--data-note", "real")
        call("nnunet-ms-predict", "-m", args.model, "-f", "all", "-i", images, "-o", masks, *options, "-device", "cpu")
    columns = ["case_id", "lesion_type", "lesion_count", "volume_ml"]
    print(pd.read_csv(masks / "cases.csv")[columns].to_string(index=False))
    figure(images, masks, args.trained_on).savefig(args.picture, dpi=110, metadata={"Software": None})
    return 0


def figure(images: Path, masks: Path, trained_on: str) -> Figure:
    """One row per patient and type: the slice with most voxels of that type."""
    with style():
        drawn = Figure(figsize=(8.4, 12.2), facecolor="white")
        grid = drawn.subplots(len(CASES) * len(TYPES), len(SHOWN), squeeze=False)
        rows = iter(grid)
        for case in CASES:
            label = oriented(masks / f"{case}.nii.gz").astype(np.uint8)
            volumes = [oriented(images / f"{case}_{channel:04d}.nii.gz") for channel in SHOWN.values()]
            inside = np.logical_or.reduce([volume != 0 for volume in volumes])
            crop = tuple(slice(int(a.min()), int(a.max()) + 1) for a in np.nonzero(inside))
            for name, (value, _) in TYPES.items():
                count = (label[crop] == value).sum(axis=(0, 1))
                z = int(count.argmax()) if count.any() else count.size // 2
                title = f"{case}, {name}: " + (f"{count.max()} voxels here" if count.any() else "none predicted")
                for axes, (shown, volume) in zip(next(rows), zip(SHOWN, volumes, strict=True), strict=True):
                    draw(axes, volume[crop][:, :, z], label[crop][:, :, z])
                    axes.set_title(f"{title}\n{shown}" if shown == "T1" else shown, fontsize=8.5)
        drawn.suptitle(f"Real scans (open_ms), masks of a small joint T1 model trained on {trained_on}", fontsize=10.5)
        drawn.supxlabel(
            "Blue: T1 unenhancing, orange: enhancing, as predicted; there is no reference. The patient's left is on "
            "the left.\nData: Lesjak et al., Neuroinformatics 2018, CC-BY.",
            fontsize=8,
        )
    return drawn


def draw(axes: Axes, image: np.ndarray, label: np.ndarray) -> None:
    """One slice with outlines."""
    inside = image[image != 0]
    low, high = np.percentile(inside, [1, 99.7]) if inside.size else (0, 1)
    axes.imshow(image.T, cmap="gray", origin="lower", vmin=low, vmax=high, interpolation="nearest")
    for value, colour in TYPES.values():
        if (label == value).any():
            axes.contour((label == value).T.astype(float), levels=[0.5], colors=[colour], linewidths=0.9)
    axes.set_axis_off()


def oriented(path: Path) -> np.ndarray:
    """Voxels in RAS+ order."""
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)


def call(name: str, *arguments: object) -> None:
    """Run a command of this interpreter's environment."""
    subprocess.run([str(Path(sys.executable).parent / name), *map(str, arguments)], check=True)


if __name__ == "__main__":
    sys.exit(main())
