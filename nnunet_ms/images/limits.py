"""What an image of a head can be, in numbers; imports nothing, so that a command may read them before it parses."""

EDGES_MM = (0.05, 25.0)  # of voxels: from ex-vivo scans to the thickest slices
