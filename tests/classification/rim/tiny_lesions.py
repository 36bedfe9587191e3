"""A folder as `nnunet-ms-rim features` writes it, of small patches; rim+ ones have a bright shell."""

import json

import numpy as np
import pandas as pd

FIRST_ORDER = ("Mean", "Maximum", "Skewness")
NAMES = (*(f"original_firstorder_{name}" for name in FIRST_ORDER), "original_shape_Sphericity", "wavelet_HHH_Energy")


def draw_patches(labels, generator, geometry=(8, 32, 32)):
    """(n, 2, D, H, W): a ball of 0.2 in noise; rim+ with a shell of 0.5 around."""
    axes = (np.linspace(-12, 12, size) for size in geometry)
    radius = np.sqrt(sum(x**2 for x in np.meshgrid(*axes, indexing="ij")))
    qsm = 0.2 * (radius < 5) + 0.5 * labels[:, None, None, None] * ((radius >= 3.5) & (radius < 6.5))
    patches = np.stack([qsm, np.broadcast_to(2.0 * (radius < 6), qsm.shape)], axis=1)
    return (patches + generator.normal(0, 0.15, patches.shape)).astype(np.float32)


def tiny_rows(patients=12, rim_patients=6, per_patient=6, seed=0):
    generator = np.random.default_rng(seed)
    rows = [
        {
            "patient_id": f"{number:03d}",
            "visit": "base",
            "week": 0.0,
            "lesion_id": lesion + 1,
            "voxels": 40,
            "volume_ml": 0.12,
            "x_mm": 1.0,
            "y_mm": 2.0,
            "z_mm": 3.0,
            "label": float(number < rim_patients and lesion < 1 + number % 2),
        }
        for number in range(patients)
        for lesion in range(per_patient)
    ]
    return pd.DataFrame(rows), generator


def write_lesions(folder, geometry=(8, 32, 32), names=NAMES, **how):
    """Write the folder and return its path."""
    rows, generator = tiny_rows(**how)
    labels = rows["label"].fillna(0).to_numpy()
    features = generator.normal(0, 1, (len(rows), len(names)))
    features[:, :2] += 2.5 * labels[:, None]
    (folder / "boxes").mkdir(parents=True)
    rows.to_csv(folder / "lesions.csv", index=False)
    keys = rows[["patient_id", "visit", "lesion_id"]]
    pd.concat([keys, pd.DataFrame(features, columns=list(names))], axis=1).to_csv(folder / "features.csv", index=False)
    patches = draw_patches(labels, generator, geometry)
    for (patient, visit), places in rows.groupby(["patient_id", "visit"]).indices.items():
        np.savez_compressed(folder / "boxes" / f"{patient}_{visit}.npz", patches=patches[places])
    (folder / "settings.json").write_text(json.dumps({"geometry": list(geometry)}))
    return folder
