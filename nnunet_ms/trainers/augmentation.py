"""Augmentation of `multi_arm_t2`: affine and elastic deformation on half of the patches; mirroring on request.

The paper names the kinds and the share; the ranges below are this project's choice.
"""

from collections.abc import Sequence

import numpy as np
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.random import OneOfTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform

MAX_ROTATION = np.deg2rad(15.0)
SCALING = (0.9, 1.1)
ELASTIC_SCALE = (0.1, 0.25)  # smoothness of the deformation, as a share of the patch edge
ELASTIC_MAGNITUDE = (0.0, 3.0)  # largest displacement in voxels of the deformed axes


def spatial_transform(patch: Sequence[int], deform: bool) -> SpatialTransform:
    """Crop to `patch` and, when `deform`, rotate, scale and deform elastically.

    Segmentations are sampled at the nearest voxel, so that labels and lesion volumes, which share the sampling grid,
    stay in step.

    Examples
    --------
    >>> import torch
    >>> crop = spatial_transform((16, 16), deform=False)
    >>> tuple(crop(image=torch.zeros(1, 20, 20))["image"].shape)
    (1, 16, 16)
    """
    p = 1.0 if deform else 0.0
    return SpatialTransform(
        patch,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=p,
        elastic_deform_scale=ELASTIC_SCALE,
        elastic_deform_magnitude=ELASTIC_MAGNITUDE,
        p_rotation=p,
        rotation=(-MAX_ROTATION, MAX_ROTATION),
        p_scaling=p,
        scaling=SCALING,
        mode_seg="nearest",
        border_mode_seg="constant",
        padding_value_seg=-1,
    )


def training_transforms(
    patch: Sequence[int],
    scales: Sequence[Sequence[float]] | None,
    in_plane_only: bool,
    masked_channels: Sequence[int],
    mirror_axes: tuple[int, ...] | None = None,
) -> BasicTransform:
    """Transforms of one training patch.

    Parameters
    ----------
    patch : sequence of int
        Edges (z, y, x) after cropping.
    scales : sequence or None
        Deep-supervision scales, finest first.
    in_plane_only : bool
        Whether deformations stay within the slices (anisotropic voxels).
    masked_channels : sequence of int
        Channels set back to 0 outside the brain after interpolation.
    mirror_axes : tuple of int, optional
        Spatial axes along which a patch is mirrored, each with probability one half.

    Examples
    --------
    >>> import torch
    >>> steps = training_transforms((8, 16, 16), None, in_plane_only=True, masked_channels=[0])
    >>> patch = {"image": torch.zeros(1, 8, 20, 20), "segmentation": torch.ones(2, 8, 20, 20)}
    >>> moved = steps(**patch)
    >>> tuple(moved["image"].shape), tuple(moved["segmentation"].shape)
    ((1, 8, 16, 16), (2, 8, 16, 16))
    """
    plane = patch[1:] if in_plane_only else patch
    deformation = OneOfTransform([spatial_transform(plane, deform=True), spatial_transform(plane, deform=False)])
    steps: list[BasicTransform] = [deformation]
    if in_plane_only:
        steps = [Convert3DTo2DTransform(), deformation, Convert2DTo3DTransform()]
    if masked_channels:
        steps.append(
            MaskImageTransform(apply_to_channels=list(masked_channels), channel_idx_in_seg=0, set_outside_to=0)
        )
    if mirror_axes:
        steps.append(MirrorTransform(allowed_axes=mirror_axes))
    steps.append(RemoveLabelTransform(-1, 0))
    if scales is not None:
        steps.append(DownsampleSegForDSTransform(ds_scales=list(scales)))
    return ComposeTransforms(steps)
