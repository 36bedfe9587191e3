"""The optional engine `greedy` [1]_ for rigid registration; its package is asked for when the engine is.

References
----------
.. [1] Yushkevich et al., Alzheimers Dement 12(7S):P126-127, 2016; https://greedy.readthedocs.io, Apache-2.0
"""

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from nnunet_ms.arrays import Matrix
from nnunet_ms.errors import ImageError, SettingsError, one_line

# six degrees of freedom; normalised mutual information; voxels of 4, 2 and 1 times their size
COMMAND = "-V 0 -threads {threads} -a -dof 6 -m NMI -ia {start} -n 100x50x10 -i fixed moving -o found"


def greedy_engine() -> Any:
    """Greedy's engine for 3-D images; SettingsError where the package picsl-greedy is not installed."""
    try:
        from picsl_greedy import Greedy3D
    except ImportError as error:
        raise SettingsError(
            "--registration greedy: expected the package picsl-greedy, found none. Install it (pip install "
            "'nnunet-ms[greedy]'), or take --registration rigid."
        ) from error
    return Greedy3D()


def greedy_rigid(fixed: SimpleITK.Image, moving: SimpleITK.Image, start: Matrix) -> Matrix:
    """Matrix (4, 4), RAS mm, from points of the fixed image to points of the moving one, sought from `start`.

    Raises
    ------
    SettingsError
        If the package picsl-greedy is not installed.
    ImageError
        If the registration fails.
    """
    engine, quiet = greedy_engine(), io.StringIO()
    threads = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "start.txt"
            np.savetxt(place, start)
            command = COMMAND.format(threads=threads, start=place)
            engine.execute(command, out=quiet, err=quiet, fixed=fixed, moving=moving, found=None)
        return np.array(engine["found"], dtype=np.float64)
    except RuntimeError as error:
        raise ImageError(
            f"registration: expected greedy to align the visits, it says {one_line(error)[-120:]}. Check that both "
            "show the same head, or take --registration rigid."
        ) from error
