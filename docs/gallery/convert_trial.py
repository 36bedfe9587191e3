"""A trial's folder becomes an nnU-Net dataset: channels copied voxel by voxel, folds by patient, a row per case."""

import matplotlib.pyplot as plt
import nibabel as nib
import pandas as pd

import nnunet_ms as ms

trial = ms.simulate("scans", patients=3, images=True).folder
done = ms.convert(trial / "manifest.csv", "trial", raw="raw", dataset_id=801, test_patients=["P003"], folds=2)
folder = done.folder
print(f"{folder}: {len(done.cases)} cases, {len(done.failures)} left out")
cases = pd.read_csv(folder / "cases.csv")
print(cases[["case_id", "patient_id", "week", "role"]].to_string(index=False))

case = cases.query("role == 'train'").iloc[0]
label = nib.load(folder / "labelsTr" / f"{case['case_id']}.nii.gz")
z = int((label.get_fdata() > 0).sum((0, 1)).argmax())
figure, axes = plt.subplots(1, 3, figsize=(9, 4.2), layout="constrained", sharey=True)
for channel, (panel, name) in enumerate(zip(axes, ("FLAIR", "T2", "T1"), strict=True)):
    file = f"{case['case_id']}_{channel:04d}.nii.gz"
    panel.imshow(nib.load(folder / "imagesTr" / file).dataobj[..., z].T, cmap="gray", origin="lower")
    panel.contour(label.dataobj[..., z].T, [0.5], colors="#D55E00", linewidths=0.8)
    panel.set_title(f"{name}: {file}", fontsize=8)
    panel.set_xlabel("voxels of 2 mm")
figure.suptitle(f"{folder.name}: {len(cases)} cases of {cases['patient_id'].nunique()} simulated patients", fontsize=10)
figure.savefig("convert_trial.png", dpi=110)
