"""A folder as `nnunet-ms-stratify prepare` writes it, small and made up: 8 mm, half of the patients disabled.

Disabled patients have brighter FLAIR in the ventricles, so that a network can learn something.
"""

import json

import numpy as np
import pandas as pd

from nnunet_ms.classification.stratification.preparation import PreparedScan, save_prepared, target_grid
from nnunet_ms.classification.stratification.prepared_folder import LEFT_OUT, PREPARED_SCANS
from nnunet_ms.classification.stratification.regions import REGIONS
from nnunet_ms.tables import write_table

EDGE = 8.0
SHAPE = target_grid(EDGE).shape


def made_scan(disabled, seed, empty=()):
    """One scan: a brain in five slabs, its ventricles in the middle."""
    brain = np.zeros(SHAPE, bool)
    brain[3:-3, 3:-3, 3:-3] = True
    slabs = np.array_split(np.arange(3, SHAPE[2] - 3), len(REGIONS))
    regions = {}
    for region, slab in zip(REGIONS, slabs, strict=True):
        regions[region] = np.zeros(SHAPE, bool)
        if region not in empty:
            regions[region][3:-3, 3:-3, slab] = True
    images = np.random.default_rng(seed).normal(0, 0.5, (2, *SHAPE)).astype(np.float32)
    images[1][regions["ventricles"]] += 2.0 * disabled
    volumes = {f"{region}_ml": 10.0 + k for k, region in enumerate(REGIONS)}
    return PreparedScan(images * brain, brain, regions, volumes | {"brain_ml": 1400.0}, "labels", 0.95, np.eye(4))


def write_prepared(folder, patients=8, visits=("base",), lacking=None):
    """Write the folder; `lacking` is {patient: region} of scans without a region."""
    rows, left_out = [], []
    for k in range(patients):
        for visit in visits:
            case = f"P{k}_{visit}"
            empty = [region for patient, region in (lacking or {}).items() if patient == f"P{k}"]
            left_out += [(case, region, "no voxel of the region") for region in empty]
            save_prepared(made_scan(k % 2, 10 * k + len(visit), empty), folder / "scans" / f"{case}.npz")
            row = {
                "case_id": case,
                "patient_id": f"P{k}",
                "visit": visit,
                "age_years": 30.0 + k,
                "sex": "FM"[k % 3 > 0],
            }
            row |= {"field_tesla": 3.0, "lesion_volume_ml": 2.0 + k, "edss": 2.0 + 2 * (k % 2), "disabled": k % 2}
            row |= {"days_to_edss": 20.0, "brain_ml": 1400.0, **{f"{one}_ml": 10.0 for one in REGIONS}}
            rows.append(row | {"regions_from": "labels", "brain_dice": 0.95})
    write_table(pd.DataFrame(rows, columns=PREPARED_SCANS.names), folder / "scans.csv")
    write_table(pd.DataFrame(left_out, columns=LEFT_OUT.names), folder / "left_out.csv")
    (folder / "settings.json").write_text(json.dumps({"step": "nnunet-ms-stratify prepare", "edge_mm": EDGE}))
    return folder
