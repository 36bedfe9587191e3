"""Phantom beside real scans: pictures for `docs/simulation.md`, and a table of lesions and of contrast-to-noise.

Real: 29 consensus masks and two patients' images of Lesjak et al., Neuroinformatics 2018 (CC-BY), skull-stripped.
Simulated: phantoms of `nnunet-ms-simulate`, trial grid (1x1x3 mm). Real masks are averaged over three 1 mm slices and
cut at one half, so that both have the same voxels; lesions are 18-connected components of at least 3 voxels.

    python benchmarks/phantom_realism.py --data ../shared/data --patients 29
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from nnunet_ms.images.volumes import read_volume
from nnunet_ms.outputs import whole_file
from nnunet_ms.parallel import map_cases
from nnunet_ms.plotting.style import style
from nnunet_ms.simulation.images.files import PhantomSettings, phantom_course
from nnunet_ms.simulation.images.phantom import VisitImages, acquire_visit, draw_patient
from nnunet_ms.simulation.model.presets import GRIDS
from nnunet_ms.simulation.model.streams import Step, stream

SEED, SMALLEST = 0, 3
REAL_IMAGES = {"flair": "FLAIR", "t2": "T2w", "t1": "T1w", "t1post": "T1wGd"}
TITLES = {"flair": "FLAIR", "t2": "T2", "t1": "T1", "t1post": "T1 post contrast", "qsm": "QSM"}
DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS = Path(__file__).parent / "results" / "phantom_realism.csv"
PAPER = {"share_at_most_10": 0.41, "share_at_most_50": 0.83}  # Krishnan et al. 2023, OPERA II


def real_masks(data: Path) -> list[np.ndarray[Any, Any]]:
    """Real masks at 1x1x3 mm, (X, Y, Z) bool each."""
    return [thick(read_volume(path).data > 0) for path in sorted((data / "open_ms_masks").glob("*_lesion.nii.gz"))]


def thick(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Average three slices."""
    x, y, z = mask.shape
    return mask[:, :, : z // 3 * 3].reshape(x, y, z // 3, 3).mean(axis=3) >= 0.5


def sizes(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Voxels of each lesion."""
    labels = cc3d.connected_components(mask.astype(np.uint8), connectivity=18)
    found = np.bincount(labels.ravel())[1:]
    return found[found >= SMALLEST]


def lesion_summary(per_patient: Sequence[np.ndarray[Any, Any]], voxel_ml: float) -> dict[str, float]:
    """Numbers, sizes and volumes over patients."""
    pooled = np.concatenate(per_patient)
    counts, volumes = [len(s) for s in per_patient], np.array([s.sum() * voxel_ml for s in per_patient])
    return {
        "patients": len(per_patient),
        "lesions_per_patient_median": float(np.median(counts)),
        "lesions_per_patient_q1": float(np.quantile(counts, 0.25)),
        "lesions_per_patient_q3": float(np.quantile(counts, 0.75)),
        "volume_ml_mean": float(volumes.mean()),
        "volume_ml_sd": float(volumes.std(ddof=1)),
        "volume_ml_median": float(np.median(volumes)),
        "lesion_mm3_q1": float(1000 * voxel_ml * np.quantile(pooled, 0.25)),
        "lesion_mm3_median": float(1000 * voxel_ml * np.median(pooled)),
        "lesion_mm3_q3": float(1000 * voxel_ml * np.quantile(pooled, 0.75)),
        "lesion_mm3_q95": float(1000 * voxel_ml * np.quantile(pooled, 0.95)),
        "share_at_most_10": float(np.mean(pooled <= 10)),
        "share_at_most_50": float(np.mean(pooled <= 50)),
    }


def contrast_to_noise(
    images: dict[str, Any], lesions: np.ndarray[Any, Any], white: np.ndarray[Any, Any]
) -> dict[str, float]:
    """(median of lesions - median of normal-appearing white matter) / robust SD of the latter, per contrast."""
    found = {}
    for name, image in images.items():
        normal = image[white & ~lesions].astype(float)
        middle = np.median(normal)
        spread = 1.4826 * np.median(np.abs(normal - middle))
        found[f"cnr_{name}"] = float((np.median(image[lesions]) - middle) / spread)
    return found


def real_white_matter(t1: np.ndarray[Any, Any], lesions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Brightest mode of T1 inside the brain: within 7 % of the white-matter peak."""
    inside = t1[(t1 > 0) & ~lesions]
    counts, edges = np.histogram(inside, bins=200, range=(np.quantile(inside, 0.3), np.quantile(inside, 0.995)))
    smooth = np.convolve(counts, np.ones(9) / 9, "same")
    upper = len(smooth) // 2
    peak = edges[upper + int(np.argmax(smooth[upper:]))]
    return np.asarray(np.abs(t1 / peak - 1) < 0.07)


def phantom(index: int) -> tuple[np.ndarray[Any, Any], dict[str, float]]:
    """Lesion sizes and contrast-to-noise of one phantom."""
    patient, visit = one_phantom(index, qsm=False)
    lesions, images = visit.masks["t2_lesions"] > 0, visit.contrasts
    return sizes(lesions), contrast_to_noise(dict(images), lesions, patient.anatomy.white > 0.95)


def one_phantom(index: int, qsm: bool) -> tuple[Any, VisitImages]:
    """Draw one phantom as `nnunet-ms-simulate phantom --grid trial` does."""
    course = phantom_course(PhantomSettings(index + 1, SEED, "trial"), index)
    patient = draw_patient(GRIDS["trial"], course, SEED, index, qsm)
    return patient, acquire_visit(patient, 0, stream(SEED, Step.ACQUISITION, index, 0))


def read_patient(data: Path, name: str) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """Images and mask of one real patient, 1 mm."""
    folder = data / "open_ms_cross_sectional" / name
    images = {key: read_volume(folder / f"{stem}.nii.gz").data for key, stem in REAL_IMAGES.items()}
    return images, read_volume(folder / "lesion.nii.gz").data > 0


def table(data: Path, patients: int, workers: int) -> pd.DataFrame:
    """One row per quantity: real, phantom, paper."""
    real = lesion_summary([sizes(mask) for mask in real_masks(data)], 0.003)
    outcome = map_cases(phantom, range(patients), str, "phantoms", workers)
    simulated = lesion_summary([found for found, _ in outcome.results], 0.003)
    simulated |= pd.DataFrame([cnr for _, cnr in outcome.results]).mean().to_dict()
    noises = []
    for name in ("patient07", "patient26"):
        images, lesions = read_patient(data, name)
        noises.append(contrast_to_noise(images, lesions, real_white_matter(images["t1"], lesions)))
    real |= pd.DataFrame(noises).mean().to_dict()
    return pd.DataFrame({"real": real, "phantom": simulated, "paper": PAPER}).rename_axis("quantity").reset_index()


def pictures(data: Path, folder: Path) -> None:
    """Real and simulated slices beside each other, and the phantom's QSM and masks."""
    rows = []
    for name in ("patient07", "patient26"):
        images, lesions = read_patient(data, name)
        k = 80 + int(np.argmax(lesions.sum(axis=(0, 1))[80:120]))  # at the height of the ventricles
        slices = {key: np.flip(image[:, :, k].T[::-1], 1) for key, image in images.items()}
        rows.append((f"real, {name}", slices, np.flip(lesions[:, :, k].T[::-1], 1)))
    for index in (1, 4):
        _, visit = one_phantom(index, qsm=False)
        lesions = visit.masks["t2_lesions"] > 0
        k = int(np.argmax(lesions.sum(axis=(0, 1))))
        slices = {key: image[:, :, k].T[::-1] for key, image in visit.contrasts.items()}
        rows.append((f"simulated, phantom {index + 1}", slices, lesions[:, :, k].T[::-1]))
    with style():
        figure = Figure(figsize=(8.2, 9.2))
        axes = figure.subplots(len(rows), len(REAL_IMAGES))
        for number, (line, (label, slices, mask)) in enumerate(zip(axes, rows, strict=True)):
            for axis, key in zip(line, REAL_IMAGES, strict=True):
                show(axis, slices[key], mask if key == "flair" else None)
                axis.set_title(TITLES[key] if number == 0 else "", fontsize=9)
            line[0].set_ylabel(label, fontsize=9)
        save(figure, folder / "phantom_beside_real.png")
        save(course_figure(), folder / "phantom_course.png")


def show(axis: Any, image: np.ndarray[Any, Any], mask: np.ndarray[Any, Any] | None, limits: Any = None) -> None:
    """One slice cropped to the brain, grey from its 1st to its 99.5th percentile, lesions outlined."""
    where = np.argwhere(image != 0)
    (a, c), (b, d) = where.min(axis=0), where.max(axis=0) + 1
    low, high = limits or np.quantile(image[image != 0], (0.01, 0.995))
    axis.imshow(image[a:b, c:d], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    if mask is not None and mask.any():
        axis.contour(mask[a:b, c:d], levels=[0.5], colors="#E69F00", linewidths=0.6)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def course_figure() -> Figure:
    """One phantom over three visits: the same brain, lesions that come, grow, enhance once; its QSM."""
    settings = PhantomSettings(1, 3, "trial", visits=3)
    patient = draw_patient(GRIDS["trial"], phantom_course(settings, 0), 3, 0, qsm=True)
    visits = [acquire_visit(patient, k, stream(3, Step.ACQUISITION, 0, k)) for k in range(3)]
    rim = np.isin(visits[0].owner, [i + 1 for i, lesion in enumerate(patient.lesions) if lesion.rim])
    enhancing = np.stack([visit.masks["t1_enhancing"] > 0 for visit in visits])
    k = int(np.argmax((rim.sum(axis=(0, 1)) > 0) * (1 + enhancing.sum(axis=(0, 1, 2)))))
    figure = Figure(figsize=(8.2, 7.4))
    axes = figure.subplots(3, 3)
    for j, visit in enumerate(visits):
        flair, t1post = (visit.contrasts[key][:, :, k].T[::-1] for key in ("flair", "t1post"))
        show(axes[0][j], flair, (visit.masks["t2_lesions"] > 0)[:, :, k].T[::-1])
        show(axes[1][j], t1post, enhancing[j][:, :, k].T[::-1])
        show(axes[2][j], visit.qsm[:, :, k].T[::-1], None, limits=(-0.08, 0.14))  # type: ignore[index]
        axes[0][j].set_title(f"week {24 * j}", fontsize=9)
    for axis, text in zip(
        axes[:, 0], ("FLAIR, T2 lesions", "T1 post, enhancing", "QSM, -0.08 to 0.14 ppm"), strict=True
    ):
        axis.set_ylabel(text, fontsize=9)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write one picture without a time stamp, in 128 colours: noise compresses badly, and pages should be light."""
    with whole_file(path) as partial_path:
        figure.savefig(partial_path, dpi=110, metadata={"Software": None})
        Image.open(partial_path).convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE).save(
            partial_path, optimize=True
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Make the pictures and the table; 1 when the shares of small lesions miss the paper's by more than 5 points."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--patients", type=int, default=29, help="number of phantoms (default: as many as real masks)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--docs", type=Path, default=DOCS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    pictures(args.data, args.docs)
    result = table(args.data, args.patients, args.workers)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    result.to_csv(args.results, index=False, float_format="%.4g")
    print(result.to_string(index=False, float_format="{:.3g}".format))
    shares = result.set_index("quantity").loc[list(PAPER)]
    return int(bool((shares["phantom"] - shares["paper"]).abs().max() > 0.05))


if __name__ == "__main__":
    sys.exit(main())
