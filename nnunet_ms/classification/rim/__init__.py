"""Rim lesions on QSM (QSMRim-Net, Zhang et al., NeuroImage Clin 2022;34:102979)."""
