"""The same masks under several named rules: what counts as a lesion, and as found, changes the numbers."""

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import pandas as pd

import nnunet_ms as ms
from nnunet_ms.simulation.images.mask_reader import read_again

rules = ["krishnan2023", "isbi2015", "msseg2016", "wahlig2023", "shifts2022", "panoptica_ms"]
folder = ms.simulate("scans", patients=3, images=True).folder / "images"
counts = []
for number, path in enumerate(sorted(folder.glob("P*/week*/t2_lesions.nii.gz"))):
    reference, brain = nib.load(path), nib.load(path.with_name("brain_mask.nii.gz"))
    spacing, rng = reference.header.get_zooms(), np.random.default_rng(number)
    reading = read_again(reference.get_fdata() > 0, brain.get_fdata() > 0, spacing, rng)
    counts.append(ms.evaluate_masks(reference, reading, rule=rules).counts)
total = pd.concat(counts).groupby("rule", sort=False).sum()
share = pd.DataFrame(
    {
        "reference lesions found (LTPR)": 1 - total["fn"] / total["reference_lesions"],
        "predicted lesions that are false (LFPR)": total["fp"] / total["predicted_lesions"],
    }
)
print(share.round(3).to_string())

figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
for (name, values), marker, colour in zip(share.items(), "os", ("#0072B2", "#D55E00"), strict=True):
    axes.plot(100 * values, range(len(values)), marker, color=colour, label=name)
labels = [f"{rule}\n{row.reference_lesions} lesions" for rule, row in total.iterrows()]
axes.set_yticks(range(len(labels)), labels, fontsize=8)
axes.set(xlim=(-2, 102), xlabel="% of lesions, all visits together")
axes.invert_yaxis()
axes.grid(axis="x", alpha=0.3)
figure.legend(fontsize=8, loc="outside lower center", ncols=2)
axes.set_title(f"One simulated second reader, {len(counts)} visits of 3 simulated patients, six rules", fontsize=10)
figure.savefig("many_rules.png", dpi=110)
