"""How right are the places of lesions? Against ventricles drawn by experts, an atlas, and label maps of whole heads.

    python benchmarks/lesion_places.py --data ../shared/data --out benchmarks/results

`ms3seg`: eight patients with the expert's lesions and ventricles: is a lesion within 3 mm of the drawn ventricles also
within 3 mm of ours (`lesion_places_contact.csv`; `drawn` and `told` of `lesions`, those right, and their share of the
volume)? The template alone is tried beside. `atlas`: the infratentorial surface and the cortex against NiftySeg's
atlas, in MNI space. `synthseg`: balls are put at random into the white matter, brain stem and cerebellum of four label
maps, the map is drawn as a FLAIR of 1 mm and of 6 mm slices, and the place told from the image is compared with the
place by the map's own ventricles, cortex, cerebellum and brain stem, by the same rule (`lesion_places_known.csv`).
The outlines of the regions come from neither the label maps nor the patients' ventricles; of NiftySeg's atlas the
cerebellum had a part in them. Limits (how far from the template, thick slices) were chosen on these data.
"""

import argparse
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage

from nnunet_ms.arrays import Bools
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.patient_regions import place_brain, regions_of
from nnunet_ms.images.template import mni152_brain
from nnunet_ms.images.template_regions import cortex_mm, is_infratentorial, ventricles_mm
from nnunet_ms.images.volumes import Grid, Volume, read_volume
from nnunet_ms.lesions.features import PERIVENTRICULAR_MM, distance_to_region, locate
from nnunet_ms.lesions.labelling import Lesions, find_lesions

WHITE, CORTEX, LATERAL, BELOW = (2, 41), (3, 42), (4, 43, 5, 44), (7, 8, 46, 47, 16, 15)
BALLS, APART_MM, RADII_MM = 120, 11, (2.0, 4.5)
LEVELS = {"tissue": 1.0, "grey": 1.12, "fluid": 0.2, "lesion": 1.6}


def lesions_of(mask: Bools, grid: Grid) -> Lesions:
    """Lesions of at least 3 voxels, 18-connected."""
    return find_lesions(Volume(mask.astype(np.uint8), grid, Path("mask")), 18, 3)


def contact(patient: Path) -> dict[str, object]:
    """One row: told against drawn contact with the ventricles."""
    flair = read_volume(patient / "FLAIR.nii.gz")
    brain, drawn, mask = (
        onto_grid(read_volume(patient / f"{name}.nii.gz"), flair) for name in ("brain", "ventricles", "lesion")
    )
    inside = brain.data != 0
    lesions = lesions_of(mask.data != 0, flair.grid)
    start = time.process_time()
    place = place_brain(flair, inside)
    regions = regions_of(flair, inside, place.matrix)
    seconds = time.process_time() - start
    back = np.linalg.inv(place.matrix)
    points = flair.grid.to_world(np.argwhere(inside)) @ back[:3, :3].T + back[:3, 3]
    alone = np.zeros(inside.shape, np.uint8)
    alone[inside] = ventricles_mm().at(points) < 0
    truth = distance_to_region(lesions, drawn) <= PERIVENTRICULAR_MM
    told = distance_to_region(lesions, regions["ventricles"]) <= PERIVENTRICULAR_MM
    template = distance_to_region(lesions, Volume(alone, flair.grid, flair.path)) <= PERIVENTRICULAR_MM
    here = regions["ventricles"].data != 0
    both = 2 * np.count_nonzero(here & (drawn.data != 0)) / (here.sum() + np.count_nonzero(drawn.data))
    volumes = lesions.volumes_ml
    row: dict[str, object] = {"patient": patient.name, "good_fit": place.is_good, "dice": round(place.dice, 3)}
    row |= {"contrast": round(place.contrast, 2), "lesions": lesions.count, "drawn": int(truth.sum())}
    row |= {"told": int(told.sum()), "of_drawn": int((told & truth).sum()), "right": int((told == truth).sum())}
    row |= {"right_volume": round(float(volumes[told == truth].sum() / volumes.sum()), 3)}
    row |= {"template_of_drawn": int((template & truth).sum()), "template_right": int((template == truth).sum())}
    return row | {"ventricle_dice": round(float(both), 2), "processor_s": round(seconds, 1)}


def atlas(folder: Path) -> list[str]:
    """Lines about NiftySeg's atlas."""
    priors = {path.name.split("_")[1]: nib.load(path) for path in folder.glob("niftyseg_*")}
    affine = priors["cerebellum"].affine
    drawn = priors["cerebellum"].get_fdata() > 0
    points = nib.affines.apply_affine(affine, np.argwhere(np.ones(drawn.shape, bool)))
    maps = {name: priors[name].get_fdata().ravel() for name in ("WM", "CGM", "DGM")}
    tissue = sum(maps.values()) > 0.5
    ours, theirs = is_infratentorial(points) & tissue, drawn.ravel() & tissue
    lines = [f"infratentorial tissue: Dice {2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()):.3f}"]
    cortex = (maps["CGM"] > 0.5) & ~drawn.ravel()
    there = cortex_mm().at(points)
    lines += [f"NiftySeg's cortex within 2 mm of ours: {np.mean(there[cortex] <= 2):.1%}"]
    deep = (maps["WM"] > 0.95) & ~drawn.ravel()
    return [*lines, f"its white matter (.95) within 2 mm of our cortex: {np.mean(there[deep] <= 2):.1%}"]


def known(path: Path, slices_mm: int, rng: np.random.Generator) -> tuple[pd.DataFrame, str]:
    """Balls in a label map: place by the map and place told from its image."""
    image = nib.as_closest_canonical(nib.load(path))
    labels = np.asarray(image.dataobj).astype(np.int16)
    tissue = (labels > 0) & (labels < 86) & (labels != 24)
    box = tuple(slice(max(one.start - 8, 0), one.stop + 8) for one in ndimage.find_objects(tissue.astype(np.uint8))[0])
    labels, tissue = labels[box], tissue[box]
    affine = image.affine.copy()
    affine[:3, 3] = nib.affines.apply_affine(image.affine, [one.start for one in box])
    brain = ndimage.binary_closing(tissue, iterations=4) | tissue
    balls = _balls(labels, rng)
    levels = np.select(
        [balls, np.isin(labels, CORTEX), tissue & ~np.isin(labels, (*LATERAL, 14, 15))],
        [LEVELS["lesion"], LEVELS["grey"], LEVELS["tissue"]],
        LEVELS["fluid"],
    )
    levels = np.where(brain, levels, 0)
    levels, labels, brain, balls, grid = _thick(levels, labels, brain, balls, affine, slices_mm)
    seen = ndimage.gaussian_filter(levels, 0.6) + rng.normal(0, 0.05, levels.shape)
    flair = Volume(np.where(brain, seen, 0).astype(np.float32), grid, path)
    lesions = lesions_of(balls, grid)
    place = place_brain(flair, brain)
    truth = {"ventricles": LATERAL, "cortex": CORTEX, "infratentorial": BELOW}
    true = {name: Volume(np.isin(labels, ids).astype(np.uint8), grid, path) for name, ids in truth.items()}
    by_map, by_image = locate(lesions, true), locate(lesions, regions_of(flair, brain, place.matrix))
    alone = locate(lesions, _template_alone(flair, brain, place.matrix))
    table = pd.DataFrame({"known": by_map["location"], "told": by_image["location"], "template": alone["location"]})
    return table.assign(map=path.name.split(".")[0], slices_mm=slices_mm, good_fit=place.is_good), place.words


def _template_alone(image: Volume, brain: Bools, matrix: np.ndarray) -> dict[str, Volume]:
    back = np.linalg.inv(matrix)
    points = image.grid.to_world(np.argwhere(brain)) @ back[:3, :3].T + back[:3, 3]
    found = {"ventricles": ventricles_mm().at(points) < 0, "cortex": cortex_mm().at(points) < 1}
    found["infratentorial"] = is_infratentorial(points)
    masks = {name: np.zeros(brain.shape, np.uint8) for name in found}
    for name, here in found.items():
        masks[name][brain] = here
    return {name: Volume(mask, image.grid, image.path) for name, mask in masks.items()}


def _balls(labels: np.ndarray, rng: np.random.Generator) -> Bools:
    """Balls in white matter, cerebellum and brain stem, apart from each other; what is no such tissue is left out."""
    soil = np.isin(labels, (*WHITE, 7, 46, 16))
    free, balls = soil.copy(), np.zeros(labels.shape, bool)
    for _ in range(BALLS):
        places = np.argwhere(free)
        if not len(places):
            break
        centre = places[rng.integers(len(places))]
        low = np.maximum(centre - APART_MM, 0)
        part = tuple(slice(a, b + APART_MM + 1) for a, b in zip(low, centre, strict=True))
        away = np.linalg.norm(np.indices(labels[part].shape).T - (centre - low), axis=-1).T
        balls[part] |= (away <= rng.uniform(*RADII_MM)) & soil[part]
        free[part] &= away > APART_MM
    return balls


def _thick(
    levels: np.ndarray, labels: np.ndarray, brain: Bools, balls: Bools, affine: np.ndarray, slices_mm: int
) -> tuple[np.ndarray, np.ndarray, Bools, Bools, Grid]:
    """The same with slices of several mm: means of the image, the middle slice of masks."""
    count = levels.shape[2] // slices_mm * slices_mm
    mean = levels[..., :count].reshape(*levels.shape[:2], -1, slices_mm).mean(-1)
    middle = slice(slices_mm // 2, count, slices_mm)
    step = affine @ np.diag([1, 1, slices_mm, 1])
    step[:3, 3] = nib.affines.apply_affine(affine, [0, 0, (slices_mm - 1) / 2])
    shown = balls[..., :count].reshape(*balls.shape[:2], -1, slices_mm).mean(-1) >= 0.5
    return mean, labels[..., middle], brain[..., middle], shown, Grid(mean.shape, step)


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", default="atlas,ms3seg,synthseg")
    args = parser.parse_args()
    print(f"brain of the template: {mni152_brain().sum() / 1000:.0f} ml")
    if "atlas" in args.parts:
        print("\n".join(atlas(args.data / "atlas")))
    if "ms3seg" in args.parts:
        rows = []
        for patient in sorted((args.data / "ms3seg").iterdir()):
            rows.append(contact(patient))
            print(rows[-1], flush=True)
        pd.DataFrame(rows).to_csv(args.out / "lesion_places_contact.csv", index=False)
    if "synthseg" in args.parts:
        tables = []
        for number, path in enumerate(sorted((args.data / "synthseg_labels").glob("*.nii.gz"))):
            for slices_mm in (1, 6):
                table, words = known(path, slices_mm, np.random.default_rng(number))
                print(path.name, slices_mm, words, f"{(table['known'] == table['told']).mean():.2f}", flush=True)
                tables.append(table)
        whole = pd.concat(tables)
        for slices_mm, part in whole.groupby("slices_mm"):
            for way in ("told", "template"):
                print(f"slices of {slices_mm} mm, {way}: {(part['known'] == part[way]).mean():.3f} right")
                print(pd.crosstab(part["known"], part[way]).to_string())
        counts = whole.groupby(["map", "slices_mm", "good_fit", "known", "told"], as_index=False).size()
        counts.rename(columns={"size": "lesions"}).to_csv(args.out / "lesion_places_known.csv", index=False)


if __name__ == "__main__":
    main()
