"""Sources with one folder per patient and fixed file names."""

from dataclasses import dataclass, field
from pathlib import Path

from nnunet_ms.dataset_conversion.cases import Case, Mask, choose
from nnunet_ms.dataset_conversion.sources.source import Request
from nnunet_ms.errors import ConversionError


@dataclass(frozen=True)
class Layout:
    """A source with one folder per patient: file name per sequence, and of the mask per target."""

    images: dict[str, str]
    masks: dict[str, str]
    expected: str = field(default="one folder per patient")


def find_folder_cases(layout: Layout, request: Request) -> list[Case]:
    """Find one case per patient folder; names only, nothing is read.

    Raises
    ------
    ConversionError
        If the source is no folder, holds no patient of this layout, or a channel or target is unknown.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.sources.ms3seg import LAYOUT, SOURCE
    >>> Path("ms3seg/104670").mkdir(parents=True)
    >>> for name in ("FLAIR", "T1w", "lesion"):
    ...     Path(f"ms3seg/104670/{name}.nii.gz").touch()
    >>> [case.patient_id for case in find_folder_cases(LAYOUT, SOURCE.request("ms3seg", "flair,t1"))]
    ['104670']
    """
    source = request.path
    choose(request.channels, layout.images, "--channels", source)
    choose([request.target], layout.masks, "--target", source)
    if not source.is_dir():
        raise ConversionError(f"{source}: expected a folder ({layout.expected}), found none. Check the path.")
    known = {*layout.images.values(), *layout.masks.values()}
    folders = [f for f in sorted(source.iterdir()) if f.is_dir() and any((f / name).exists() for name in known)]
    if not folders:
        found = sorted(f.name for f in source.iterdir())[:5]
        raise ConversionError(f"{source}: expected {layout.expected}, found {found}. Is this the right folder?")
    return [_folder_case(folder, layout, request) for folder in folders]


def _folder_case(folder: Path, layout: Layout, request: Request) -> Case:
    images = {channel: folder / layout.images[channel] for channel in request.channels}
    label = folder / layout.masks[request.target]
    missing = [path.name for path in [*images.values(), label] if not path.exists()]
    problem = ""
    if missing:
        found = sorted(f.name for f in folder.iterdir())
        problem = f"{folder}: missing {missing}, found {found}. Get the file, or choose other --channels."
    return Case(folder.name, "", None, images, Mask({request.target: label}), problem)
