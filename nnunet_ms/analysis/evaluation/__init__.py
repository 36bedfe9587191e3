"""Masks against reference masks, lesion by lesion."""
