"""Network architectures in pure torch: no nnunetv2, no files."""
