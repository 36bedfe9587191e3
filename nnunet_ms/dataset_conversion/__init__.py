"""Room 1: trial and challenge data become nnU-Net raw data."""
