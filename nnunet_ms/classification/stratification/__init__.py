"""Disability of a patient from the whole brain or one region of it (Coll et al., J Magn Reson Imaging 2024;60:258)."""
