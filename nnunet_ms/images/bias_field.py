"""N4 bias field correction."""

import SimpleITK

from nnunet_ms.errors import ImageError, one_line
from nnunet_ms.images.resample import shrink_factors

N4_MM, N4_ITERATIONS = 4.0, (50, 50, 30)


def correct_bias(image: SimpleITK.Image, mask: SimpleITK.Image | None) -> SimpleITK.Image:
    """Divide a float32 image by its bias field [1]_, fitted on voxels of about 4 mm; Otsu's mask where none is given.

    References
    ----------
    .. [1] Tustison et al., IEEE Trans Med Imaging 29:1310-1320, 2010. doi:10.1109/TMI.2010.2046908

    Examples
    --------
    >>> from nnunet_ms.images.itk import to_itk, voxels
    >>> from nnunet_ms.images.volumes import Grid
    >>> grid = Grid((32, 32, 16), np.diag([4.0, 4.0, 4.0, 1.0]))
    >>> field = np.broadcast_to(np.linspace(0.8, 1.2, 32, dtype=np.float32)[:, None, None], grid.shape)
    >>> flat = voxels(correct_bias(to_itk(100 * field, grid), to_itk(np.ones(grid.shape, np.uint8), grid)))
    >>> bool(flat.std() / flat.mean() < 0.3 * field.std() / field.mean())
    True
    """
    inside = SimpleITK.OtsuThreshold(image, 0, 1) if mask is None else SimpleITK.Cast(mask != 0, SimpleITK.sitkUInt8)
    if not SimpleITK.GetArrayViewFromImage(inside).any():
        return image
    factors = shrink_factors(image, N4_MM)
    corrector = SimpleITK.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(list(N4_ITERATIONS))
    try:
        corrector.Execute(SimpleITK.Shrink(image, factors), SimpleITK.Shrink(inside, factors))
        field = SimpleITK.Cast(corrector.GetLogBiasFieldAsImage(image), SimpleITK.sitkFloat32)
    except RuntimeError as error:
        raise ImageError(f"N4: cannot fit a bias field ({one_line(error)[-120:]}). Leave out --n4.") from error
    return SimpleITK.Divide(image, SimpleITK.Exp(field))
