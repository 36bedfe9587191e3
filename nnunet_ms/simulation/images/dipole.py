"""Susceptibility to field and back: convolution with the unit dipole, and the closed-form regularised inversion.

The field of a magnetised body is its susceptibility times `1/3 - k_z^2 / k^2` in k space [1]_ [2]_. The inversion is
the minimum of the squared misfit and of the squared gradient, which has a closed form [3]_. It is one of the simplest
in use; it blurs and leaves streaks as the better ones do less.

References
----------
.. [1] Salomir et al., Concepts Magn Reson B 2003;19:26-34. doi:10.1002/cmr.b.10083
.. [2] Marques and Bowtell, Concepts Magn Reson B 2005;25:65-78. doi:10.1002/cmr.b.20034
.. [3] Bilgic et al., J Magn Reson Imaging 2014;40:181-191. doi:10.1002/jmri.24365
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from nnunet_ms.arrays import SingleFloats


@dataclass(frozen=True)
class Dipole:
    """The unit dipole on a padded grid.

    `kernel` and `gradient` (half k space, as `rfftn` has it): the dipole, and the squared length of k in units of the
    finest voxel's difference operator.
    """

    shape: tuple[int, int, int]
    padded: tuple[int, int, int]
    kernel: SingleFloats
    gradient: SingleFloats


def make_dipole(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], field: npt.ArrayLike = (0.0, 0.0, 1.0)
) -> Dipole:
    """Return the dipole for images of `shape`, padded by a quarter at least, with the main field along `field` (3,).

    Examples
    --------
    A ball's field at its poles is twice that at its equator, with the other sign:

    >>> x, y, z = np.ogrid[-24:24, -24:24, -24:24]
    >>> ball = (x**2 + y**2 + z**2 <= 36).astype(np.float32)
    >>> field = forward(ball, make_dipole(ball.shape, (1, 1, 1)))
    >>> pole, equator = field[24, 24, 36], field[36, 24, 24]
    >>> bool(pole > 0 > equator), round(float(-pole / equator), 1)
    (True, 2.0)
    """
    padded = tuple(int(fft.next_fast_len(n + max(8, n // 4), real=True)) for n in shape)
    axes = [fft.fftfreq(n, mm) for n, mm in zip(padded[:2], spacing_mm[:2], strict=True)]
    axes.append(fft.rfftfreq(padded[2], spacing_mm[2]))
    kx, ky, kz = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij", sparse=True)
    direction = np.asarray(field, dtype=np.float32) / np.float32(np.linalg.norm(field))
    squares = kx**2 + ky**2 + kz**2
    along = direction[0] * kx + direction[1] * ky + direction[2] * kz
    with np.errstate(invalid="ignore", divide="ignore"):
        kernel = np.where(squares > 0, np.float32(1 / 3) - along**2 / squares, 0).astype(np.float32)
    finest = min(spacing_mm)
    gradient = sum(
        (2 * np.sin(np.pi * k * mm) * finest / mm) ** 2 for k, mm in zip((kx, ky, kz), spacing_mm, strict=True)
    )
    x, y, z = shape
    return Dipole((x, y, z), (padded[0], padded[1], padded[2]), kernel, np.asarray(gradient, dtype=np.float32))


def forward(chi: npt.NDArray[np.floating], dipole: Dipole) -> SingleFloats:
    """Field (X, Y, Z) along the main field, in the unit of the susceptibility `chi` (X, Y, Z).

    Examples
    --------
    A rod along the main field has a third of its susceptibility inside:

    >>> rod = np.zeros((48, 48, 64))
    >>> rod[22:26, 22:26, 4:60] = 3.0
    >>> round(float(forward(rod, make_dipole(rod.shape, (1, 1, 1)))[24, 24, 32]), 1)
    1.0
    """
    return _filtered(chi, dipole.kernel, dipole)


def invert(field: npt.NDArray[np.floating], dipole: Dipole, regularisation: float) -> SingleFloats:
    """Susceptibility (X, Y, Z) whose field is nearest to `field`, with `regularisation` > 0 on its gradient.

    Examples
    --------
    >>> chi = np.zeros((32, 32, 32))
    >>> chi[12:20, 12:20, 12:20] = 100.0
    >>> dipole = make_dipole(chi.shape, (1, 1, 1))
    >>> found = invert(forward(chi, dipole), dipole, 0.001)
    >>> 80 < float(found[12:20, 12:20, 12:20].mean() - found.mean()) < 105
    True
    """
    weight = dipole.kernel**2 + np.float32(regularisation) * dipole.gradient
    inverse = np.divide(dipole.kernel, weight, out=np.zeros_like(dipole.kernel), where=weight > 0)
    return _filtered(field, inverse, dipole)


def _filtered(image: npt.NDArray[np.floating], kernel: SingleFloats, dipole: Dipole) -> SingleFloats:
    spectrum = fft.rfftn(np.asarray(image, dtype=np.float32), dipole.padded)
    whole = fft.irfftn(spectrum * kernel, dipole.padded)
    return np.asarray(whole[tuple(slice(0, n) for n in dipole.shape)], dtype=np.float32)
