"""Classification: of lesions (rims on QSM) and of patients."""
