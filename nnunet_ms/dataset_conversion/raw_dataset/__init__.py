"""nnU-Net's raw format: written, split into folds, brought back."""
