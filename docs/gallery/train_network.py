"""Train the multi-arm network for a minute on two simulated patients, and let it outline the lesions of a third."""

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import torch

import nnunet_ms as ms
from nnunet_ms.trainers.losses import SmoothTruncatedLoss
from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet


def scan(patient):
    """T1, FLAIR and T2 as (3, z, y, x), scaled inside the brain, and the reference mask."""
    names = [f"scans/images/{patient}/week000/{name}.nii.gz" for name in ("t1", "flair", "t2", "t2_lesions")]
    *channels, mask = (nib.load(name).get_fdata(dtype=np.float32).T[:40, :96, :80] for name in names)
    scaled = [(c - c[c > 0].mean()) / c[c > 0].std() * (c > 0) for c in channels]
    return torch.tensor(np.stack(scaled)), torch.tensor(mask)


torch.manual_seed(0)
ms.simulate("scans", patients=3, images=True)
train, (image, truth) = [scan("P001"), scan("P002")], scan("P003")
network = MultiArmUNet([Arm((0, 1, 2)), Arm((1,), 2)], filters=(8, 16, 32, 64), deep_supervision=False)
loss, adam = SmoothTruncatedLoss(8 * 32 * 32 * 16.0), torch.optim.Adam(network.parameters(), lr=3e-3)
for step in range(200):
    x, lesions = train[step % 2]
    centre = lesions.nonzero()[torch.randint(int(lesions.sum()), ())]
    i, j, k = (centre - torch.tensor([4, 16, 16])).clamp(torch.zeros(3), torch.tensor([32, 64, 48])).int().tolist()
    x, lesions = (one[..., i : i + 8, j : j + 32, k : k + 32] for one in (x, lesions))
    adam.zero_grad()  # below: labels, and 200 mm3 as the volume of every lesion
    loss(network(x[None]), torch.stack([lesions, 200 * lesions])[None]).backward()
    adam.step()
mask = (network.eval()(image[None])[0, 1] > 0).float()
dice, z = float(2 * (mask * truth).sum() / (mask.sum() + truth.sum())), int(truth.sum((1, 2)).argmax())
plt.figure(figsize=(4.2, 5.2), layout="constrained").gca().imshow(image[1, z].numpy(), cmap="gray", origin="lower")
plt.contour(truth[z].numpy(), [0.5], colors="#009E73")
plt.contour(mask[z].numpy(), [0.5], colors="#D55E00", linestyles="--")
plt.title("FLAIR of an unseen patient (simulated, n = 1)", fontsize=10)
plt.xlabel(f"voxels of 2 mm\ngreen: reference; orange: network, 200 steps; Dice {dice:.2f}", fontsize=9)
plt.savefig("train_network.png", dpi=110)
