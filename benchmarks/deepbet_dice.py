"""deepbet against the brain masks that came with MS3SEG: Dice and seconds per scan, of T1 and FLAIR.

    python benchmarks/deepbet_dice.py ../shared/data/ms3seg

A mask is compared with the images that lie on its grid: where T1 lies elsewhere (two patients), it is left out.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from nnunet_ms.images.deepbet_brain import deepbet_mask
from nnunet_ms.images.volumes import read_mask, read_volume, same_grid


def rows(folder: Path) -> Iterator[tuple[str, str, float, float, float, float]]:
    """One row per image: patient, contrast, Dice, ml found and given, processor seconds."""
    for patient in sorted(path for path in folder.iterdir() if path.is_dir()):
        given = read_mask(patient / "brain.nii.gz")
        for name in ("T1w", "FLAIR"):
            image = read_volume(patient / f"{name}.nii.gz")
            if not same_grid(image.grid, given.grid):
                print(f"{patient.name} {name}: lies on another grid than the mask, left out")
                continue
            start = time.process_time()
            found = deepbet_mask(image.data, image.grid, image.path) > 0
            seconds = time.process_time() - start
            truth = given.data > 0
            dice = 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))
            ours, its = (float(mask.sum() * image.grid.voxel_volume_ml) for mask in (found, truth))
            yield patient.name, name, dice, ours, its, seconds


def main() -> None:
    """Print a line per scan, and one per contrast."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="MS3SEG: a folder per patient with T1w, FLAIR and brain")
    torch.set_num_threads(1)
    found = []
    for row in rows(parser.parse_args().folder):
        print("{} {}: Dice {:.3f}, {:.0f} ml, given {:.0f} ml, {:.1f} s".format(*row), flush=True)
        found.append(row)
    for name in ("T1w", "FLAIR"):
        dice = [row[2] for row in found if row[1] == name]
        seconds = [row[5] for row in found if row[1] == name]
        print(
            f"{name}: {len(dice)} scans, Dice {np.mean(dice):.3f} ({min(dice):.3f} to {max(dice):.3f}), "
            f"{np.median(seconds):.1f} s per scan"
        )


if __name__ == "__main__":
    main()
