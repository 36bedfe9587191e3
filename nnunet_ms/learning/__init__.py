"""Learning curves: the same network trained on few and on more studies, with and without a source model."""
