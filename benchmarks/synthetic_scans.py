"""Synthetic scans: cost of a scan and of a patch beside nnU-Net's augmentation; lesions before and after; a picture.

    python benchmarks/synthetic_scans.py --count 24 --figure docs/synthetic_scans.png

Label maps and masks come from `../shared/data`; without label maps there, the phantom's.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from nnunet_ms.simulation.images.brain_regions import LATERAL, THIRD, region_template
from nnunet_ms.simulation.images.scan_sources import PHANTOM, Source, find_maps, find_masks, load_map, load_mask
from nnunet_ms.synthesis.acquisition import Scanner
from nnunet_ms.synthesis.label_maps import NUMBER, HeadMap
from nnunet_ms.synthesis.lesion_masks import LesionMask
from nnunet_ms.synthesis.scan import SyntheticScan, synthetic_scan
from nnunet_ms.trainers.synthetic_patches import SyntheticPatches

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SEQUENCES = ("flair", "t2", "t1")
PATCH = (96, 96, 96)


def seconds(function: Callable[[], object], times: int) -> float:
    """Median processor time of calls."""
    found = []
    for _ in range(times):
        start = time.process_time()
        function()
        found.append(time.process_time() - start)
    return float(np.median(found))


def nnunet_transforms() -> Any:
    """nnU-Net's own, as `nnUNetTrainer` builds them for 3-D."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    rotation = (-30 / 360 * 2 * np.pi, 30 / 360 * 2 * np.pi)
    return nnUNetTrainer.get_training_transforms(
        PATCH, rotation, None, (0, 1, 2), do_dummy_2d_data_aug=False, use_mask_for_norm=[True] * 3, is_cascaded=False
    )


def ventricle_mm_of_template() -> tuple[Any, Any]:
    """Distance to the ventricles of the template, mm, and the place of its first voxel."""
    labels, origin = region_template()
    ventricle = np.isin(labels, (*LATERAL, THIRD))
    return ndimage.distance_transform_edt(~ventricle), origin


def places_before(mask: LesionMask, template: Any, origin: Any) -> Any:
    """Distance of a mask's voxels to the template's ventricles, mm."""
    inside = np.argwhere(mask.depth_mm > 0)
    matrix = np.linalg.inv(mask.from_mni) @ mask.grid.affine
    index = np.rint(inside @ matrix[:3, :3].T + matrix[:3, 3] - origin).astype(int)
    index = np.clip(index, 0, np.array(template.shape) - 1)
    return template[tuple(index.T)]


def places_after(scan: SyntheticScan) -> Any:
    """Distance of a scan's lesion voxels to its ventricles, mm."""
    ventricle = scan.regions == NUMBER["ventricle"]
    return ndimage.distance_transform_edt(~ventricle)[scan.lesion > 0]


def compare(heads: Sequence[HeadMap], masks: Sequence[LesionMask], count: int) -> None:
    """Volumes and places of lesions in masks, and in the scans made of them."""
    template, origin = ventricle_mm_of_template()
    before, after, volumes, costs = [], [], [], []
    for index in range(count):
        mask, rng = masks[index % len(masks)], np.random.default_rng(index)
        start = time.process_time()
        scan = synthetic_scan(heads[index % len(heads)], [mask], rng, SEQUENCES, scanner=Scanner(thick=0.5))
        costs.append(time.process_time() - start)
        before.append(places_before(mask, template, origin))
        after.append(places_after(scan))
        volumes.append((mask.volume_ml, scan.lesion.sum() / 1000))
        print(f"  {index} {mask.name}: {volumes[-1][0]:.2f} -> {volumes[-1][1]:.2f} ml, {costs[-1]:.2f} s", flush=True)
    pairs = np.array(volumes)
    print(f"scan of {len(SEQUENCES)} sequences: {np.median(costs):.2f} s of one core (median of {count})")
    for name, column in (("masks", pairs[:, 0]), ("scans", pairs[:, 1])):
        print(f"lesion volume, {name}: quartiles {np.round(np.percentile(column, (25, 50, 75)), 2)} ml")
    print(f"ratio of volumes: quartiles {np.round(np.percentile(pairs[:, 1] / pairs[:, 0], (25, 50, 75)), 2)}")
    for name, several in (("masks", before), ("scans", after)):
        near = np.mean([np.mean(one <= 5) for one in several if len(one)])
        middle = np.mean([np.median(one) for one in several if len(one)])
        print(f"voxels within 5 mm of the ventricles, {name}: {near:.2f}; median {middle:.1f} mm")


def cost_of_patches(heads: Sequence[HeadMap], masks: Sequence[LesionMask]) -> None:
    """Processor time of a synthetic patch and of nnU-Net's transforms of a loaded one."""
    one = SyntheticPatches(heads, masks, SEQUENCES, probability=1.0)
    rng = np.random.default_rng(0)
    ours = seconds(lambda: one.drawn(PATCH, rng), 15)
    steps = nnunet_transforms()
    image = torch.randn(3, *PATCH)
    label = (torch.rand(1, *PATCH) > 0.99).to(torch.int16)
    theirs = seconds(lambda: steps(image=image.clone(), segmentation=label.clone()), 30)
    mean = np.mean([seconds(lambda: steps(image=image.clone(), segmentation=label.clone()), 1) for _ in range(30)])
    print(
        f"patch 96^3: synthetic {ours:.2f} s, nnU-Net's augmentation {theirs:.2f} s (median; mean {mean:.2f}): "
        f"{ours / mean:.1f} times its mean"
    )


def draw(heads: Sequence[HeadMap], masks: Sequence[LesionMask], path: Path) -> None:
    """Four scans, a row each."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(4, 4, figsize=(8, 9.4))
    for row, index in zip(axes, (1, 2, 5, 8), strict=True):
        scan = synthetic_scan(
            heads[index % len(heads)], [masks[index * 3 % len(masks)]], np.random.default_rng(index), SEQUENCES
        )
        z = int(np.argmax(scan.lesion.sum((0, 1))))
        for axis, name in zip(row, SEQUENCES, strict=False):
            plane = scan.images[name][:, :, z].T
            axis.imshow(plane, cmap="gray", origin="lower", vmax=np.percentile(plane, 99.7))
        row[3].imshow(scan.lesion[:, :, z].T, cmap="gray", origin="lower")
        thick = scan.drawn["slices"]["flair"]["thickness_mm"]
        row[0].set_ylabel(f"{scan.drawn['field']}, FLAIR {thick:.0f} mm", fontsize=8)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    for axis, name in zip(axes[0], ("FLAIR", "T2", "T1", "lesions"), strict=True):
        axis.set_title(name, fontsize=9)
    figure.suptitle("Synthetic scans (simulated, n = 4): SynthSeg's label maps, masks of open_ms", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--notes", type=Path, default=Path("placed"), help="folder that keeps where files lie")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    maps = [Source(PHANTOM, "", (), "template")]
    if SHARED.is_dir():
        maps = find_maps([SHARED / "synthseg_labels"], args.notes)
    heads = [load_map(one.path, one.from_mni) for one in maps]
    found = find_masks([SHARED / "open_ms_masks"], args.notes)
    masks = [load_mask(one.path, one.from_mni, one.name) for one in found]
    if args.figure:
        draw(heads, masks, args.figure)
    cost_of_patches(heads, masks)
    compare(heads, masks, args.count)


if __name__ == "__main__":
    main()
