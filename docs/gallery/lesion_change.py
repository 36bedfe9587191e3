"""What happened to a patient's lesions between two visits: new, enlarging, shrinking, resolved."""

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np

import nnunet_ms as ms
from nnunet_ms.images.volumes import read_mask
from nnunet_ms.lesions.change import change_table, lesion_change

folder = ms.simulate("scans", patients=3, images=True).folder / "images" / "P003"
before, after = (read_mask(folder / week / "t2_lesions.nii.gz") for week in ("week000", "week096"))
changes = change_table(lesion_change(before, after))
print(changes.groupby(["mask", "change"]).agg(lesions=("voxels", "size"), changed_ml=("changed_ml", "sum")))

gained, lost = (after.data > before.data), (before.data > after.data)
z = int(gained.sum((0, 1)).argmax())
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.8), layout="constrained")
left.imshow(nib.load(folder / "week096" / "flair.nii.gz").dataobj[..., z].T, cmap="gray", origin="lower")
for mask, colour in ((gained, "#D55E00"), (lost, "#56B4E9")):
    left.contour(mask[..., z].T, [0.5], colors=colour, linewidths=0.9)
left.set(title="FLAIR at week 96; gained (orange), lost (blue)", xlabel="voxels of 2 mm")
order = ["new", "enlarging", "existing", "kept", "shrinking", "resolved"]
per_change = changes.groupby("change")["changed_ml"].sum().reindex(order, fill_value=0)
signs = np.where(np.isin(order, ["kept", "shrinking", "resolved"]), -1, 1)
names = [f"{change}: {(changes['change'] == change).sum()} lesions" for change in order]
right.barh(names, signs * per_change, color=np.where(signs > 0, "#D55E00", "#56B4E9"))
right.axvline(0, color="black", linewidth=0.8)
right.set(title="Volume gained or lost, week 0 to 96", xlabel="ml")
figure.suptitle("One simulated patient (n = 1); components of at least 6 mm³", fontsize=10)
figure.savefig("lesion_change.png", dpi=110)
