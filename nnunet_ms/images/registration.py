"""Rigid and affine registration by mutual information, and N4; SimpleITK, the same result each time with one thread.

Mattes mutual information over a pyramid of 4, 2 and 1 mm, regular samples, regular-step gradient descent. The start is
the headers' position or the match of the centres of mass, whichever is better.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import SimpleITK

from nnunet_ms.errors import ImageError, one_line
from nnunet_ms.images.greedy import greedy_rigid
from nnunet_ms.images.itk import Matrix, to_matrix, to_transform
from nnunet_ms.images.resample import shrink_factors
from nnunet_ms.options import chosen

Kind = Literal["rigid", "affine"]
Engine = Literal["rigid", "greedy"]

LEVELS_MM = (4.0, 2.0, 1.0)
SAMPLES = 60_000  # per level: enough for 32 x 32 bins, little enough for seconds
RIGID_STEP, AFFINE_STEP = 1.0, 0.1  # mm of the first step: affine starts from the rigid result
FURTHEST_MM = 100.0  # that a registration may move the middle of the head


@dataclass(frozen=True)
class Registration:
    """`matrix` maps points of the fixed image to the moving one, (4, 4), RAS mm; metrics are mutual information."""

    matrix: Matrix
    before: float
    after: float


def register(fixed: SimpleITK.Image, moving: SimpleITK.Image, kind: Kind) -> Registration:
    """Align two 3-D float32 images of one head.

    The headers' position is kept where no step improves on it.

    Raises
    ------
    ImageError
        If the images do not overlap or the result is absurd (the middle of the head moves further than 100 mm).
    OptionError
        If `kind` is neither rigid nor affine.

    Examples
    --------
    >>> from nnunet_ms.images.itk import to_itk
    >>> from nnunet_ms.images.volumes import Grid
    >>> grid = Grid((40, 40, 20), np.diag([2.0, 2.0, 4.0, 1.0]))
    >>> x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij")
    >>> head = np.exp(-3 * (x**2 + 2 * y**2 + 1.5 * z**2 + 0.3 * x * y)).astype(np.float32)
    >>> moved = np.roll(head, 3, axis=0)
    >>> found = register(to_itk(head, grid), to_itk(moved, grid), "rigid")
    >>> float(found.matrix[0, 3].round())
    6.0
    """
    chosen(kind, get_args(Kind), "kind")
    try:
        transform: SimpleITK.Transform = _start(fixed, moving)
        for level in LEVELS_MM:
            transform = _refine(_coarse(fixed, level), _coarse(moving, level), transform)
        small = _coarse(fixed, LEVELS_MM[1]), _coarse(moving, LEVELS_MM[1])
        ways = [SimpleITK.Transform(3, SimpleITK.sitkIdentity), transform]
        if kind == "affine":
            ways.append(_refine(*small, _as_affine(transform), AFFINE_STEP))
        values = [_information(*small, way) for way in ways]
        transform = ways[int(np.argmax(values))]
    except RuntimeError as error:
        raise ImageError(
            f"registration: expected two images that overlap, SimpleITK says {one_line(error)[-120:]}. "
            "Check that both show the same head."
        ) from error
    return _sane(fixed, transform, values[0], max(values))


def register_visits(fixed: SimpleITK.Image, moving: SimpleITK.Image, engine: Engine = "rigid") -> Registration:
    """Align the FLAIR images of two visits rigidly; deformation would take away what is sought, new lesions.

    Parameters
    ----------
    fixed, moving : SimpleITK.Image
        Baseline and follow-up, 3-D, float32.
    engine : {"rigid", "greedy"}, optional
        SimpleITK as in `register`, or picsl-greedy (extra `greedy`).

    Raises
    ------
    ImageError
        As `register`.
    SettingsError
        If the engine is not installed.
    OptionError
        If there is no such engine.

    Examples
    --------
    >>> from nnunet_ms.images.itk import to_itk
    >>> from nnunet_ms.images.volumes import read_volume
    >>> flair = to_itk(read_volume("flair.nii.gz").data, read_volume("flair.nii.gz").grid)
    >>> register_visits(flair, flair, "syn")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: registration: expected one of 'rigid', 'greedy', found 'syn'. Choose one of them.
    """
    chosen(engine, get_args(Engine), "registration")
    if engine == "rigid":
        return register(fixed, moving, "rigid")
    small = _coarse(fixed, LEVELS_MM[1]), _coarse(moving, LEVELS_MM[1])
    transform = to_transform(greedy_rigid(fixed, moving, to_matrix(_start(fixed, moving))))
    before = _information(*small, SimpleITK.Transform(3, SimpleITK.sitkIdentity))
    return _sane(fixed, transform, before, _information(*small, transform))


def _sane(fixed: SimpleITK.Image, transform: SimpleITK.Transform, before: float, after: float) -> Registration:
    middle = np.array(_middle(fixed))
    moved = float(np.linalg.norm(np.array(transform.TransformPoint(middle.tolist())) - middle))
    if moved > FURTHEST_MM:
        raise ImageError(
            f"registration: expected the head to move less than {FURTHEST_MM:g} mm, found {moved:.0f} mm. "
            "Check that both images show the same head."
        )
    return Registration(to_matrix(transform), before, after)


def _as_affine(rigid: Any) -> SimpleITK.AffineTransform:
    affine = SimpleITK.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    return affine


def _coarse(image: SimpleITK.Image, edge_mm: float) -> SimpleITK.Image:
    factors = shrink_factors(image, edge_mm)
    return image if max(factors) == 1 else SimpleITK.BinShrink(image, factors)


def _start(fixed: SimpleITK.Image, moving: SimpleITK.Image) -> SimpleITK.Euler3DTransform:
    small = _coarse(fixed, LEVELS_MM[0]), _coarse(moving, LEVELS_MM[0])
    here = SimpleITK.Euler3DTransform()
    here.SetCenter(_middle(fixed))
    centred = SimpleITK.Euler3DTransform(
        SimpleITK.CenteredTransformInitializer(
            *small, SimpleITK.Euler3DTransform(), SimpleITK.CenteredTransformInitializerFilter.MOMENTS
        )
    )
    return max(here, centred, key=lambda one: _information(*small, one))


def _middle(image: SimpleITK.Image) -> tuple[float, ...]:
    return tuple(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))


def _method(fixed: SimpleITK.Image) -> SimpleITK.ImageRegistrationMethod:
    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=32)
    share = SAMPLES / fixed.GetNumberOfPixels()
    if share < 1:
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(share, seed=1)
    method.SetInterpolator(SimpleITK.sitkLinear)
    return method


def _information(fixed: SimpleITK.Image, moving: SimpleITK.Image, transform: SimpleITK.Transform) -> float:
    method = _method(fixed)
    method.SetInitialTransform(transform)
    try:
        return -float(method.MetricEvaluate(fixed, moving))
    except RuntimeError:  # no overlap
        return -np.inf


def _refine(
    fixed: SimpleITK.Image, moving: SimpleITK.Image, transform: SimpleITK.Transform, step: float = RIGID_STEP
) -> SimpleITK.Transform:
    method = _method(fixed)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step,
        minStep=1e-3,
        numberOfIterations=100,
        relaxationFactor=0.6,
        gradientMagnitudeTolerance=1e-8,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    refined = type(transform)(transform)
    method.SetInitialTransform(refined, inPlace=True)
    method.Execute(fixed, moving)
    return refined
