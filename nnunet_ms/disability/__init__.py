"""Disability over time: which patients worsened, when, and whether a later visit confirmed it."""
