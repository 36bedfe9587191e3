"""Door into nnU-Net: normalisation schemes found by name. Re-exports only; see nnunet_ms/doors/__init__.py."""

from nnunet_ms.trainers.normalization import BrainPercentileNormalization, QsmWindowNormalization

__all__ = ["BrainPercentileNormalization", "QsmWindowNormalization"]
