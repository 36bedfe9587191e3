"""Phantom scans and masks of simulated patients."""
