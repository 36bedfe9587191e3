"""What the estimators should find, computed from the model."""
