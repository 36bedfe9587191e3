"""Doors: how nnU-Net finds our classes by name, with no environment variable.

nnU-Net walks its own package folders, plain modules of a folder before sub-packages. The wheel puts the three modules
of this folder there (pyproject.toml, `force-include`), so the search ends before nnU-Net imports trainers of its own
that need torchvision. Each door only re-exports: classes keep their one true module.
"""
