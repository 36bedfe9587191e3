"""`nnUNetPlannerMS`: plans for the networks of this package, `nnUNetv2_plan_and_preprocess -pl nnUNetPlannerMS`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

from nnunet_ms.trainers.channels import sequence_of
from nnunet_ms.trainers.normalization import BrainPercentileNormalization, QsmWindowNormalization
from nnunet_ms.trainers.patches import (
    ANISOTROPIC_PATCH,
    ISOTROPIC_PATCH,
    clip_to_shape,
    divisors,
    is_anisotropic,
    shrink_until,
    strides_for,
)

REFERENCE_VOXELS = 32 * 96 * 96

# The multi-arm network keeps 1.33 GB of activations per 32x96x96 patch in float32 (benchmarks/network_memory.py). Mixed
# precision keeps about half; the estimate leaves room for gradients and workspaces. Counted on CPU, not yet on a GPU.
GB_PER_REFERENCE_PATCH = 1.1
GB_FIXED = 0.7  # CUDA context, weights, gradients, Adam moments


def estimated_gpu_memory_gb(patch: tuple[int, ...], batch_size: int) -> float:
    """Memory of one training step of the full multi-arm network under autocast, in GB.

    Examples
    --------
    >>> round(estimated_gpu_memory_gb((32, 96, 96), batch_size=10), 1)
    11.7
    """
    return GB_FIXED + GB_PER_REFERENCE_PATCH * batch_size * float(np.prod(patch)) / REFERENCE_VOXELS


def scheme_of(sequence: str) -> str:
    """Name of the normalisation of a sequence.

    Examples
    --------
    >>> scheme_of("qsm"), scheme_of("flair")
    ('QsmWindowNormalization', 'BrainPercentileNormalization')
    """
    return (QsmWindowNormalization if sequence == "qsm" else BrainPercentileNormalization).__name__


class nnUNetPlannerMS(ExperimentPlanner):  # noqa: N801 - nnU-Net finds it by this name
    """Fixed topology of four levels; patch, batch and normalisation of the paper.

    - patch 32x96x96 (z, y, x), strides 1x2x2, 2x2x2, 2x2x2 where voxels are anisotropic, 64x64x64 and 2x2x2 throughout
      where they are isotropic; batch 10;
    - patches shrink when the images are smaller, or when the estimate exceeds `gpu_memory_target_in_gb`
      (`nnUNetv2_plan_and_preprocess -gpu_memory_target`), in which case the batch stays;
    - target spacing as nnU-Net chooses it: the median, but along thick slices (three times the other edges or more) the
      10th percentile: scans of one protocol are not resampled, those with thicker slices than most are interpolated;
    - one configuration, `3d_fullres`: no 2-D and no cascade, which these networks do not have.

    The architecture named in the plans is nnU-Net's own U-Net on the same topology, so nnU-Net's trainers run with
    these plans too; the trainers of this package bring their own network.

    References
    ----------
    .. [1] Krishnan et al., Sci Rep 13:4102, 2023. doi:10.1038/s41598-023-31207-5
    """

    batch_size = 10

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 16,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str = "nnUNetPlansMS",
        overwrite_target_spacing: list[float] | tuple[float, ...] | None = None,
        suppress_transpose: bool = False,
    ) -> None:
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        self.lowres_creation_threshold = 0.0  # never a low-resolution stage

    def determine_normalization_scheme_and_whether_mask_is_used_for_norm(self) -> tuple[list[str], list[bool]]:
        """A fixed window in ppb for QSM, our z-score for every other channel, statistics inside the brain."""
        names = [sequence_of(str(name)) for name in self.dataset_json["channel_names"].values()]
        return [scheme_of(name) for name in names], [True] * len(names)

    def patch_for(self, spacing: Sequence[float], median_shape: Sequence[float]) -> tuple[int, ...]:
        """Patch (z, y, x) for voxels of `spacing` mm and images of `median_shape` voxels."""
        strides = strides_for(spacing)
        full = ANISOTROPIC_PATCH if is_anisotropic(spacing) else ISOTROPIC_PATCH
        clipped = clip_to_shape(full, median_shape, divisors(strides))
        return shrink_until(
            lambda patch: estimated_gpu_memory_gb(patch, self.batch_size) <= self.UNet_vram_target_GB,
            clipped,
            spacing,
            divisors(strides),
        )

    def get_plans_for_configuration(
        self,
        spacing: Sequence[float],
        median_shape: Sequence[float],
        data_identifier: str,
        approximate_n_voxels_dataset: float,  # noqa: ARG002 - nnU-Net's signature; our batch is fixed
        _cache: dict[str, float],
    ) -> dict[str, Any]:
        """Return the plan of one configuration; an empty one for 2-D, which `save_plans` drops."""
        if len(spacing) == 2:
            return {}
        schemes, use_mask = self.determine_normalization_scheme_and_whether_mask_is_used_for_norm()
        data_fn, data_kwargs, seg_fn, seg_kwargs = self.determine_resampling()
        probability_fn, probability_kwargs = self.determine_segmentation_softmax_export_fn()
        return {
            "data_identifier": data_identifier,
            "preprocessor_name": self.preprocessor_name,
            "batch_size": self.batch_size,
            "patch_size": self.patch_for(spacing, median_shape),
            "median_image_size_in_voxels": median_shape,
            "spacing": spacing,
            "normalization_schemes": schemes,
            "use_mask_for_norm": use_mask,
            "resampling_fn_data": data_fn.__name__,
            "resampling_fn_seg": seg_fn.__name__,
            "resampling_fn_data_kwargs": data_kwargs,
            "resampling_fn_seg_kwargs": seg_kwargs,
            "resampling_fn_probabilities": probability_fn.__name__,
            "resampling_fn_probabilities_kwargs": probability_kwargs,
            "architecture": _nnunet_architecture(spacing),
        }

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Write the plans without the empty 2-D configuration, and with the channel names, which choose the arms.

        Intensities of a channel that some cases lack are those of the cases that have it, see `present_intensities`.
        """
        plans["configurations"].pop("2d", None)
        if absent := self.dataset_json.get("absent"):
            numbers = {str(name): int(number) for number, name in self.dataset_json["channel_names"].items()}
            lacking = {case: {numbers[name] for name in names} for case, names in absent.items()}
            found = present_intensities(self.dataset, lacking, self.determine_reader_writer()())
            key = "foreground_intensity_properties_per_channel"
            plans[key] = {**plans[key], **found}
        plans["channel_names"] = list(self.dataset_json["channel_names"].values())
        super().save_plans(plans)


def present_intensities(
    dataset: Mapping[str, Mapping[str, Any]], lacking: Mapping[str, set[int]], reader: Any
) -> dict[str, dict[str, float]]:
    """Intensities of lesions, as nnU-Net's fingerprint has them, from cases that have the channel.

    nnU-Net counts the zeros of an absent channel. No normalisation of ours reads these numbers; some of nnU-Net's do.

    Parameters
    ----------
    dataset : mapping
        Case -> its files, `images` and `label`, as nnU-Net lists them.
    lacking : mapping
        Case -> numbers of the channels that it lacks.
    reader : nnU-Net's reader of images
        As the planner chooses it.

    Returns
    -------
    dict
        Number of the channel, as text -> mean, median, std, min, max and two percentiles, of channels that some cases
        lack and others have with lesions.

    Examples
    --------
    >>> present_intensities({"P1": {}}, {"P1": {1}}, reader=None)  # no case has it
    {}
    """
    found = {}
    for channel in sorted({number for numbers in lacking.values() for number in numbers}):
        samples = []
        for case, files in dataset.items():
            if channel not in lacking.get(case, set()):
                image, label = reader.read_images([files["images"][channel]])[0], reader.read_seg(files["label"])[0]
                (inside,), _ = DatasetFingerprintExtractor.collect_foreground_intensities(label, image)
                samples.append(np.asarray(inside, dtype=np.float64))
        if (values := np.concatenate([np.zeros(0), *samples])).size:
            found[str(channel)] = _summary(values)
    return found


def _summary(values: npt.NDArray[np.float64]) -> dict[str, float]:
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
    summary = {"mean": values.mean(), "median": median, "std": values.std(), "min": values.min(), "max": values.max()}
    return {
        name: float(number) for name, number in {**summary, "percentile_99_5": high, "percentile_00_5": low}.items()
    }


def _nnunet_architecture(spacing: Sequence[float]) -> dict[str, Any]:
    strides = strides_for(spacing)
    first = (1, 3, 3) if is_anisotropic(spacing) else (3, 3, 3)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": len(strides),
            "features_per_stage": (32, 64, 128, 256),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": (first, (3, 3, 3), (3, 3, 3), (3, 3, 3)),
            "strides": strides,
            "n_conv_per_stage": (2, 2, 2, 2),
            "n_conv_per_stage_decoder": (2, 2, 2),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ("conv_op", "norm_op", "dropout_op", "nonlin"),
    }
