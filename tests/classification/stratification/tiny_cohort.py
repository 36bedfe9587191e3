"""A folder of prepared scans for tests: tiny images in which the middle tells the class."""

import numpy as np
import pandas as pd

from nnunet_ms.classification.stratification.preparation import PreparedScan, save_prepared
from nnunet_ms.classification.stratification.prepared_folder import LEFT_OUT, PREPARED_SCANS
from nnunet_ms.tables import write_table

SHAPE = (20, 24, 20)
SETTINGS = '{"step": "nnunet-ms-stratify prepare", "format": 1, "edge_mm": 8.0}\n'


def tiny_scan(disabled, seed, regions=("wm", "ventricles")):
    """A scan whose ventricles are bright in the disabled."""
    rng = np.random.default_rng(seed)
    brain = np.zeros(SHAPE, bool)
    brain[2:-2, 2:-2, 2:-2] = True
    middle = np.zeros(SHAPE, bool)
    middle[7:13, 8:16, 7:13] = True
    images = rng.normal(0, 0.5, (2, *SHAPE))
    images[0][middle] += 2.0 * disabled
    masks = {"wm": brain & ~middle, "ventricles": middle}
    shown = {region: masks[region] for region in regions}
    volumes = {"brain_ml": 1000.0, "wm_ml": 500.0, "ventricles_ml": 30.0 + 10 * disabled}
    images = np.where(brain, images, 0).astype(np.float32)
    return PreparedScan(images, brain, shown, volumes, "labels", 0.95, np.eye(4))


def tiny_cohort(folder, patients=12, visits=1, lacking=()):
    """Write `patients` patients, every second one disabled; of those `lacking` the scans have no ventricles."""
    rows, left_out = [], []
    for k in range(patients):
        for visit in range(visits):
            name, case_id, disabled = f"P{k:02d}", f"P{k:02d}_v{visit}", k % 2
            has = ("wm",) if name in lacking else ("wm", "ventricles")
            scan = tiny_scan(disabled, 100 * k + visit, has)
            save_prepared(scan, folder / "scans" / f"{case_id}.npz")
            told = {"case_id": case_id, "patient_id": name, "visit": f"v{visit}", "age_years": 30.0 + (7 * k) % 25}
            told |= {"sex": "FM"[k // 2 % 2], "field_tesla": 3.0, "lesion_volume_ml": 5.0 + (5 * k) % 11}
            told |= {"edss": 4.0 if disabled else 2.0, "disabled": disabled, "days_to_edss": 10.0}
            told |= {**scan.volumes_ml, "gm_ml": 450.0, "regions_from": "labels", "brain_dice": 0.95}
            rows.append(told)
            if name in lacking:
                left_out.append((case_id, "ventricles", "no voxel of the region"))
    write_table(pd.DataFrame(rows).reindex(columns=PREPARED_SCANS.names), folder / "scans.csv")
    write_table(pd.DataFrame(left_out, columns=LEFT_OUT.names), folder / "left_out.csv")
    (folder / "settings.json").write_text(SETTINGS)
    return folder
