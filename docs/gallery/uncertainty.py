"""How sure is the network of `train_network.py`? Twenty samples of channel dropout, each one function of the brain."""

import matplotlib.pyplot as plt
import torch
from train_network import image, network, truth, z

from nnunet_ms.trainers.networks.dropout import channels_of, draw_masks, fixed_masks, select
from nnunet_ms.trainers.prediction.voxel_uncertainty import VoxelUncertainty

masks = draw_masks(channels_of(network, "decoder"), samples=20, probability=0.1, seed=0)
sums = VoxelUncertainty(tuple(truth.shape))
for sample in range(20):
    with torch.no_grad(), fixed_masks(network, select(masks, [sample], torch.device("cpu"))):
        sums.add(network(image[None])[0, 1])
measures = sums.measures()
shown = {
    "mean probability": sums.mean(),
    "entropy (all uncertainty), nats": measures["entropy"],
    "mutual information (what samples disagree on), nats": measures["mutual_information"],
}
figure, axes = plt.subplots(1, 3, figsize=(11, 4.8), layout="constrained", sharey=True)
for panel, (title, values) in zip(axes, shown.items(), strict=True):
    drawn = panel.imshow(values[z], origin="lower", cmap="magma")
    figure.colorbar(drawn, ax=panel, label=title, location="bottom")
    panel.contour(truth[z].numpy(), [0.5], colors="#56B4E9", linewidths=0.8)
    panel.set_xlabel("voxels of 2 mm")
figure.suptitle(
    "Monte Carlo dropout at the decoder, p = 0.1, 20 samples (simulated, n = 1); blue: reference", fontsize=10
)
figure.savefig("uncertainty.png", dpi=110)
