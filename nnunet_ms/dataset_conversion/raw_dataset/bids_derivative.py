"""What makes returned masks a BIDS derivative: names, sidecars, look-up table, description with licence and authors.

Names and fields are those that bids-validator 3.0.2 (schema of BIDS 1.10) asks for; entities stand in the standard's
order, `label-` before `desc-`.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ms.errors import ConversionError
from nnunet_ms.versions import version_of

DESCRIPTION, SOURCE_DESCRIPTION = "dataset_description.json", "source_description.json"
BIDS_VERSION = "1.10.0"
# what a data set's description says that holds for what is made of it too
PASSED_ON = ("License", "Authors", "Acknowledgements", "HowToAcknowledge", "Funding", "EthicsApprovals",
             "ReferencesAndLinks")  # fmt: skip
_NAME = re.compile(r"(sub-[0-9A-Za-z]+)(?:_(ses-[0-9A-Za-z]+))?_.*nii(?:\.gz)?")
_README = """# {name}

Lesion masks that a network wrote, one per session, on the grid of the session's first image ({channels}). They are not
a reading by a person. `label-lesion_desc-{rater}_mask` marks lesion voxels with 1; `probseg` files, where there are
any, hold the mean probability of the same lesions; `dseg` files have one number per type of lesion, named in
`desc-{rater}_dseg.tsv`.

Made by nnunet_ms {version} from the data set "{source}"; licence, authors and references are those of that data set.
{link}
"""


@dataclass(frozen=True)
class Session:
    """Where the files of one case go: folder and first part of their names, and the images that they come from."""

    folder: Path
    stem: str
    images: tuple[str, ...]

    def path(self, suffix: str, rater: str, label: str = "") -> Path:
        """Return the place of a file, such as `sub-01/ses-1/anat/sub-01_ses-1_label-lesion_desc-net_mask.nii.gz`."""
        named = f"_label-{label}" if label else ""
        return self.folder / f"{self.stem}{named}_desc-{rater}_{suffix}.nii.gz"


def session_of(images: Sequence[str]) -> Session | None:
    """Return the session that a case's first image is of, by its name alone; None where it has no name of BIDS.

    Examples
    --------
    >>> session = session_of(["sub-01/ses-1/anat/sub-01_ses-1_acq-3d_FLAIR.nii.gz"])
    >>> session.path("mask", "net", "lesion").as_posix()
    'sub-01/ses-1/anat/sub-01_ses-1_label-lesion_desc-net_mask.nii.gz'
    >>> session_of(["P1/base/flair.nii.gz"]) is None
    True
    """
    match = _NAME.fullmatch(images[0].rpartition("/")[2])
    if match is None:
        return None
    subject, session = match.groups()
    stem = "_".join(part for part in (subject, session) if part)
    return Session(Path(subject, session or "", "anat"), stem, tuple(images))


@dataclass(frozen=True)
class SourceDataset:
    """The data set that the images are of: its description, and where it lies seen from here ("": unknown)."""

    description: Mapping[str, Any]
    link: str = ""

    def uri(self, image: str) -> str:
        """Return the BIDS URI of an image, or its path in the data set where nobody knows where that is."""
        return f"bids:source:{image}" if self.link else image


def source_dataset(dataset: Path, out: Path, source: Path | None) -> SourceDataset:
    """Find the data set that images came from: the one named, else the one whose derivatives `out` is among.

    Its description is the one beside it, else the copy that conversion left in `dataset`.

    Raises
    ------
    ConversionError
        If the folder that was named is no BIDS data set.
    """
    if source is not None and not (source / DESCRIPTION).is_file():
        raise ConversionError(f"{source}: expected {DESCRIPTION} of the BIDS data set, found none. Correct --source.")
    above = out.resolve().parent
    if source is None and above.name == "derivatives" and (above.parent / DESCRIPTION).is_file():
        source = above.parent
    path = source / DESCRIPTION if source else dataset / SOURCE_DESCRIPTION
    link = Path(os.path.relpath(source.resolve(), out.resolve())).as_posix() if source else ""
    return SourceDataset(_read(path), link)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise ConversionError(f"{path}: expected JSON, cannot read it ({error}). Repair it.") from error
    if not isinstance(content, dict):
        raise ConversionError(f"{path}: expected names and values, found {type(content).__name__}. Repair it.")
    return content


def sidecar(session: Session, source: SourceDataset, rater: str, kind: str) -> dict[str, Any]:
    """Return what stands beside a file of masks, segmentations or probabilities: `kind` is its suffix.

    Examples
    --------
    >>> session = session_of(["sub-01/anat/sub-01_FLAIR.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz"])
    >>> content = sidecar(session, SourceDataset({}, "../.."), "net", "mask")
    >>> content["Type"], content["Manual"], content["SpatialReference"]
    ('Lesion', False, 'bids:source:sub-01/anat/sub-01_FLAIR.nii.gz')
    """
    what = {"mask": "Lesion mask", "dseg": "Types of lesions", "probseg": "Mean probability of lesion"}[kind]
    uris = [source.uri(image) for image in session.images]
    return {
        "Description": f"{what} by {rater}, on the grid of {session.images[0]}",
        **({"Type": "Lesion"} if kind == "mask" else {}),
        "Manual": False,
        "Sources": uris,
        "SpatialReference": uris[0],
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON as people read it."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def describe(folder: Path, name: str, rater: str, channels: Sequence[str], source: SourceDataset, how: str) -> None:
    """Write `dataset_description.json` and `README.md`.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    name : str
        Of the nnU-Net dataset.
    rater : str
        The model.
    channels : sequence of str
        Its sequences.
    source : SourceDataset
        From `source_dataset`.
    how : str
        What is known of the prediction; may be blank.
    """
    given = source.description
    generated = {"Name": "nnunet_ms", "Version": version_of("nnunet-ms")}
    content = {
        "Name": f"Lesion masks of {given.get('Name', name)}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        **{key: given[key] for key in PASSED_ON if given.get(key)},
        "GeneratedBy": [{**generated, **({"Description": how} if how else {})}],
        **({"SourceDatasets": [{"DOI": given["DatasetDOI"]}]} if given.get("DatasetDOI") else {}),
        **({"DatasetLinks": {"source": source.link}} if source.link else {}),
    }
    write_json(folder / DESCRIPTION, content)
    link = f"It lies at `{source.link}`, seen from here." if source.link else "Where it lies was not said."
    text = _README.format(name=content["Name"], channels=", ".join(channels), rater=rater, link=link,
                          version=generated["Version"], source=given.get("Name", name))  # fmt: skip
    (folder / "README.md").write_text(text, encoding="utf-8")


def write_lookup(folder: Path, labels: Mapping[str, int], rater: str) -> None:
    """Write the names of a segmentation's numbers, for all sessions."""
    rows = "".join(f"{value}\t{name}\n" for name, value in labels.items())
    (folder / f"desc-{rater}_dseg.tsv").write_text(f"index\tname\n{rows}", encoding="utf-8")
