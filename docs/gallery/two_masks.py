"""Two masks of one scan: how many lesions are found, which are missed, and where."""

import nibabel as nib
import numpy as np

import nnunet_ms as ms
from nnunet_ms.simulation.images.mask_reader import read_again

visit = ms.simulate("scans", patients=3, images=True).folder / "images" / "P001" / "week000"
reference, brain = (nib.load(visit / f"{name}.nii.gz") for name in ("t2_lesions", "brain_mask"))
tissue, spacing = brain.get_fdata() > 0, reference.header.get_zooms()
second_reader = read_again(reference.get_fdata() > 0, tissue, spacing, np.random.default_rng(0))

result = ms.evaluate_masks(reference, second_reader)
print(result)
print(result.reference_lesions[["lesion_id", "volume_ml", "found", "lesion_dice", "distance_mm"]].round(3).head())
figure = result.plot(visit / "flair.nii.gz", title=f"A simulated second reader (n = 1): Dice {result['dice']:.2f}")
figure.savefig("two_masks.png", dpi=110)
