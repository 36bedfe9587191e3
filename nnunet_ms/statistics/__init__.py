"""Estimators and tests on plain values and tables; opens no file and knows no trial."""
