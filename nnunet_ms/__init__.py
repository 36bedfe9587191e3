"""nnunet_ms: from the MRI of a multiple sclerosis trial to the trial's conclusions, on nnU-Net."""
