"""Simulated images and trials whose truth is known."""
