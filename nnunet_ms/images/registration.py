"""Rigid and affine registration by mutual information, and N4; SimpleITK, the same result each time with one thread.

Mattes mutual information over a pyramid of 4, 2 and 1 mm, regular samples, regular-step gradient descent. The start is
the headers' position or the match of the centres of mass, whichever is better.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
import SimpleITK

from nnunet_ms.arrays import Matrix
from nnunet_ms.errors import ImageError, one_line
from nnunet_ms.images.greedy import greedy_rigid
from nnunet_ms.images.itk import to_matrix, to_transform
from nnunet_ms.images.resample import shrink_factors
from nnunet_ms.options import chosen

Kind = Literal["rigid", "affine"]
Engine = Literal["rigid", "greedy"]

LEVELS_MM = (4.0, 2.0, 1.0)
SAMPLES = 60_000  # per level: enough for 32 x 32 bins, little enough for seconds
RIGID_STEP, AFFINE_STEP = 1.0, 0.1  # mm of the first step: affine starts from the rigid result
FURTHEST_MM = 100.0  # that a registration may move the middle of the head
# where the search for a template's brain in a head begins: a neck draws the centre of mass down, a chin forward
UP_MM, AHEAD_MM, NOD_DEGREES = (-20.0, 0.0, 20.0, 40.0, 60.0), (-15.0, 0.0, 15.0), (-20.0, 0.0, 20.0)
SEARCH_MM, BEST_STARTS = 8.0, 2
PADDING_MM = 60.0
LARGEST_TILT = 50.0  # degrees, of a head against the template


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


def register_to_template(template: SimpleITK.Image, inside: SimpleITK.Image, moving: SimpleITK.Image) -> Registration:
    """Align a head rigidly to a template of the brain; wherever its header puts it, tilted by up to `LARGEST_TILT`.

    Only voxels of the template's brain and a margin are compared, so the skull and neck of the image do not matter. The
    search starts from the best of many positions around the headers' and around the centres of mass.

    Parameters
    ----------
    template : SimpleITK.Image
        3-D, float32.
    inside : SimpleITK.Image
        Voxels of the template that count, uint8.
    moving : SimpleITK.Image
        Of any contrast, float32, with or without the skull.

    Returns
    -------
    Registration
        From points of the template to points of the image.

    Raises
    ------
    ImageError
        If the images do not overlap, or the head would be tilted further.

    Examples
    --------
    >>> from nnunet_ms.images.itk import to_itk
    >>> from nnunet_ms.images.volumes import Grid
    >>> grid = Grid((48, 48, 48), np.diag([4.0, 4.0, 4.0, 1.0]))
    >>> x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij")
    >>> head = np.exp(-3 * (x**2 + 2 * y**2 + 1.5 * z**2 + 0.3 * x * y + 0.4 * x**3)).astype(np.float32)
    >>> elsewhere = Grid(grid.shape, grid.affine + np.outer([300.0, 0, 0, 0], [0, 0, 0, 1.0]))
    >>> counted = to_itk((head > 0.1).astype(np.uint8), grid)
    >>> found = register_to_template(to_itk(head, grid), counted, to_itk(head, elsewhere))
    >>> float(found.matrix[0, 3].round())
    300.0
    """
    try:
        search, coarse, middle = (
            (_coarse(template, level), _padded(_coarse(moving, level))) for level in (SEARCH_MM, *LEVELS_MM[:2])
        )
        headers, *others = _positions(*search)
        best = sorted(others, key=lambda one: _information(*search, one, inside))[-BEST_STARTS:]
        starts = [start for start in (headers, *best) if np.isfinite(_information(*search, start, inside))]
        refined = [_refine(*coarse, start, RIGID_STEP, inside) for start in starts]
        refined = [_refine(*middle, start, RIGID_STEP, inside) for start in refined]
        transform = max((headers, *refined), key=lambda one: _information(*middle, one, inside))
        before, after = (_information(*middle, one, inside) for one in (headers, transform))
    except RuntimeError as error:
        raise ImageError(
            f"registration to the template: expected the image of a head, SimpleITK says {one_line(error)[-120:]}. "
            "Look at the image."
        ) from error
    matrix = to_matrix(transform)
    tilt = float(np.rad2deg(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))))
    if not np.isfinite(after) or tilt > LARGEST_TILT:
        raise ImageError(
            f"registration to the template: expected a head tilted by less than {LARGEST_TILT:g} degrees, found "
            f"{tilt:.0f}. Check the orientation in the header of the image, and that it shows a whole head."
        )
    return Registration(matrix, before, after)


def affine_to_template(
    template: SimpleITK.Image, inside: SimpleITK.Image, brain: SimpleITK.Image, rigid: Matrix
) -> Registration:
    """Fit a brain to a template of the brain by an affine transform, from where a rigid one has put it.

    Parameters
    ----------
    template : SimpleITK.Image
        3-D, float32, without the skull.
    inside : SimpleITK.Image
        Voxels of the template that count, uint8.
    brain : SimpleITK.Image
        Of any contrast, float32, 0 outside of the brain.
    rigid : (4, 4) float array
        From points of the template to points of the image, RAS mm.

    Returns
    -------
    Registration
        From points of the template to points of the image; `before` is that of the rigid one.

    Raises
    ------
    ImageError
        If the images do not overlap.

    Examples
    --------
    >>> from nnunet_ms.images.itk import to_itk
    >>> from nnunet_ms.images.volumes import Grid
    >>> grid = Grid((48, 48, 48), np.diag([4.0, 4.0, 4.0, 1.0]))
    >>> x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij")
    >>> head, small = (
    ...     np.exp(-3 * ((k * x) ** 2 + 2 * y**2 + 1.5 * z**2 + 0.3 * k * x * y)).astype(np.float32) for k in (1, 1.25)
    ... )
    >>> counted = to_itk((head > 0.1).astype(np.uint8), grid)
    >>> found = affine_to_template(to_itk(head, grid), counted, to_itk(small, grid), np.eye(4))
    >>> float(found.matrix[0, 0].round(1))  # the image's brain is narrower
    0.8
    """
    try:
        coarse, fine = ((_coarse(template, level), _padded(_coarse(brain, level))) for level in LEVELS_MM[:2])
        start = _as_affine(_centred(to_transform(rigid), fine[0]))
        found = _refine(*fine, _refine(*coarse, start, RIGID_STEP, inside), AFFINE_STEP, inside)
        before, after = (_information(*fine, one, inside) for one in (start, found))
    except RuntimeError as error:
        raise ImageError(
            f"registration to the template: expected the image of a brain, SimpleITK says {one_line(error)[-120:]}. "
            "Look at the image and its brain mask."
        ) from error
    return Registration(to_matrix(found), before, after) if after >= before else Registration(rigid, before, before)


def _centred(transform: SimpleITK.AffineTransform, fixed: SimpleITK.Image) -> SimpleITK.AffineTransform:
    """The same transform, turning about the middle of the image: steps of its numbers are then alike in size."""
    middle = _middle(fixed)
    centred = SimpleITK.AffineTransform(3)
    centred.SetCenter(middle)
    centred.SetMatrix(transform.GetMatrix())
    centred.SetTranslation((np.array(transform.TransformPoint(middle)) - middle).tolist())
    return centred


def _padded(image: SimpleITK.Image) -> SimpleITK.Image:
    """Air around the image, or a part of the brain that lies outside of it would count neither for nor against."""
    margin = [round(PADDING_MM / edge) for edge in image.GetSpacing()]
    return SimpleITK.ConstantPad(image, margin, margin, 0.0)


def _positions(template: SimpleITK.Image, moving: SimpleITK.Image) -> Iterator[SimpleITK.Euler3DTransform]:
    """Rigid positions to start from: the headers', then that and the centres of mass, each nodded and moved about."""
    kind = SimpleITK.CenteredTransformInitializerFilter.MOMENTS
    centred = SimpleITK.Euler3DTransform(
        SimpleITK.CenteredTransformInitializer(template, moving, SimpleITK.Euler3DTransform(), kind)
    )
    centre = centred.GetCenter()
    yield _at(centre, (0.0, 0.0, 0.0))
    for x, y, z in ((0.0, 0.0, 0.0), centred.GetTranslation()):
        for up, ahead, nod in product(UP_MM, AHEAD_MM, NOD_DEGREES):
            yield _at(centre, (x, y + ahead, z + up), nod)


def _at(centre: Sequence[float], shift: Sequence[float], nod: float = 0.0) -> SimpleITK.Euler3DTransform:
    start = SimpleITK.Euler3DTransform()
    start.SetCenter(centre)
    start.SetRotation(float(np.deg2rad(nod)), 0.0, 0.0)
    start.SetTranslation(shift)
    return start


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


def _method(fixed: SimpleITK.Image, inside: SimpleITK.Image | None = None) -> SimpleITK.ImageRegistrationMethod:
    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=32)
    share = SAMPLES / fixed.GetNumberOfPixels()
    if share < 1:
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(share, seed=1)
    if inside is not None:
        method.SetMetricFixedMask(inside)
    method.SetInterpolator(SimpleITK.sitkLinear)
    return method


def _information(
    fixed: SimpleITK.Image,
    moving: SimpleITK.Image,
    transform: SimpleITK.Transform,
    inside: SimpleITK.Image | None = None,
) -> float:
    method = _method(fixed, inside)
    method.SetInitialTransform(transform)
    try:
        return -float(method.MetricEvaluate(fixed, moving))
    except RuntimeError:  # no overlap
        return -np.inf


def _refine(
    fixed: SimpleITK.Image,
    moving: SimpleITK.Image,
    transform: SimpleITK.Transform,
    step: float = RIGID_STEP,
    inside: SimpleITK.Image | None = None,
) -> SimpleITK.Transform:
    method = _method(fixed, inside)
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
