"""One image per channel, given from Python by name or in order, and made ready for the network as nnU-Net does it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nibabel.spatialimages import SpatialImage

from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.images.given import ImageLike, volume_of
from nnunet_ms.images.headers import is_plain
from nnunet_ms.images.itk import geometry_of
from nnunet_ms.images.volumes import Volume
from nnunet_ms.trainers.prediction.image_cases import check_channels, with_absent
from nnunet_ms.trainers.prediction.model import Model

Channels = Mapping[str, ImageLike] | Sequence[ImageLike] | ImageLike


@dataclass(frozen=True)
class GivenChannels:
    """Volumes in the model's order of channels; `files` are their files when nnU-Net reads those as we do."""

    volumes: list[Volume]
    files: tuple[Path, ...] = ()


def given_channels(
    image: Channels,
    channel_names: Sequence[str],
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    needed: Sequence[int] = (),
) -> GivenChannels:
    """Read and check the images of one case.

    Parameters
    ----------
    image : mapping, sequence, or one image
        Channel name -> image, or images in the order of the channels; for one channel also the image itself. See
        `images.given.volume_of` for what an image may be.
    channel_names : sequence of str
        The model's.
    affine, spacing : optional
        Geometry of arrays.
    needed : sequence of int, optional
        Of a model that can do without some channels: those of which one is enough. Absent ones are zeros then.

    Raises
    ------
    ImageError
        If the channels are not the model's, an image cannot be used, or they lie on different grids.
    SettingsError
        If an array has no geometry, or geometry is given where there is no array.
    """
    absent = _absent(image, channel_names, needed)
    names = [name for number, name in enumerate(channel_names) if number not in absent]
    images = _in_order(image, names)
    arrays = [one for one in images if not isinstance(one, str | Path | SpatialImage)]
    if not arrays and (affine is not None or spacing is not None):
        raise SettingsError(
            "affine, spacing: expected neither, because files and nibabel images have their own. Leave them out."
        )
    volumes = [volume_of(one, name, affine=affine, spacing=spacing) for name, one in zip(names, images, strict=True)]
    check_channels(volumes)
    volumes = with_absent(volumes, absent)
    files = tuple(Path(one) for one in images if isinstance(one, str | Path))
    can_be_read = len(files) == len(volumes) and all(is_plain(path, volumes[0].grid) for path in files)
    return GivenChannels(volumes, files if can_be_read else ())


def _absent(image: Channels, channel_names: Sequence[str], needed: Sequence[int]) -> tuple[int, ...]:
    """Channels that a mapping does not name, where the model can do without them."""
    if not isinstance(image, Mapping) or not needed or not set(image) <= set(channel_names):
        return ()
    there = {number for number, name in enumerate(channel_names) if name in image}
    if not there & set(needed):
        least = " or ".join(channel_names[number] for number in needed)
        raise ImageError(f"image: expected {least} among the channels, found {list(image)}. Add one of them.")
    return tuple(number for number in range(len(channel_names)) if number not in there)


def _in_order(image: Channels, channel_names: Sequence[str]) -> list[ImageLike]:
    if isinstance(image, Mapping):
        _check_names(list(image), channel_names)
        return [image[name] for name in channel_names]
    several: list[Any] = list(image) if isinstance(image, list | tuple) else [image]
    if len(several) != len(channel_names):
        raise ImageError(
            f"image: expected {len(channel_names)} images, of the channels {', '.join(channel_names)}, found "
            f"{len(several)}. Give channel name -> image, or a list in this order."
        )
    return several


def _check_names(found: list[str], channel_names: Sequence[str]) -> None:
    if len(set(channel_names)) < len(channel_names):
        raise ImageError(
            f"image: this model's channels {list(channel_names)} have no names of their own. Give a list in this order."
        )
    strange = [name for name in found if name not in channel_names]
    if strange or len(found) < len(channel_names):
        close = get_close_matches(str(strange[0]).lower(), channel_names, n=1) if strange else []
        step = f"Is {strange[0]!r} {close[0]!r}?" if close else "Name each of them, and no other."
        raise ImageError(f"image: expected the channels {list(channel_names)}, found {found}. {step}")


def prepare_channels(given: GivenChannels, model: Model) -> tuple[torch.Tensor, dict[str, Any]]:
    """Preprocess as nnU-Net does: files by its own reader, others from memory.

    Returns
    -------
    data, properties
        (C, z, y, x) float tensor, and what nnU-Net needs to know on the way back.
    """
    preprocessor = model.configuration.preprocessor_class(verbose=False)
    plan = (model.plans, model.configuration, model.dataset_json)
    if given.files:
        data, _, properties = preprocessor.run_case([str(path) for path in given.files], None, *plan)
    else:
        stacked = np.stack([volume.data.T for volume in given.volumes], dtype=np.float32, casting="unsafe")
        data, _, properties = preprocessor.run_case_npy(stacked, None, _properties(given.volumes[0]), *plan)
    return torch.from_numpy(np.ascontiguousarray(data)), properties


def _properties(volume: Volume) -> dict[str, Any]:
    """What nnU-Net's readers say of a file, for an image that is in memory."""
    geometry = geometry_of(volume.grid)
    return {
        "sitk_stuff": geometry,
        "nibabel_stuff": {"original_affine": volume.grid.affine},
        "spacing": geometry["spacing"][::-1],
    }
