"""Names of array types, once for the whole package; shapes and units stand in the docstrings that use them."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SingleFloats = npt.NDArray[np.float32]  # images and networks
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]  # counts
Indices = npt.NDArray[np.intp]  # places in another array
Matrix = npt.NDArray[np.float64]  # (4, 4), from one place to another in mm, or from voxels to mm
