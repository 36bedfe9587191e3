"""Images on disk and in memory: volumes, grids, resampling, registration. Uses no room."""
