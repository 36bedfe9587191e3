"""Masks of the ISBI 2015 test set as the challenge's site takes them: one file per scan, in one zip.

The challenge's own names are `test01_01` ... [1]_: patient, time point. What stands after them in a submission is not
in print that we could find; `FILE_NAMES` is our reading, and it can be given otherwise.

References
----------
.. [1] Carass A et al. NeuroImage 148:77-102, 2017. doi:10.1016/j.neuroimage.2016.12.064
"""

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ms.cases_table import read_cases
from nnunet_ms.dataset_conversion.raw_dataset.write_back import bring_back, check_grid
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.volumes import read_mask, write_volume
from nnunet_ms.outputs import whole_folder

FILE_NAMES = "{scan}_{team}.nii"
SCANS = 61  # of 14 patients: the 82 of the paper less the 21 of the training set
_TEST = re.compile(r"test\d{2,}")
_DATE = (1980, 1, 1, 0, 0, 0)  # of all files in the zip, so that the same masks give the same bytes


@dataclass(frozen=True)
class Submission:
    """The zip, the names in it, and what is to be known before it is sent."""

    path: Path
    names: list[str]
    notes: list[str]


def write_submission(
    dataset: str | Path,
    predictions: str | Path,
    out: str | Path,
    team: str,
    *,
    file_names: str = FILE_NAMES,
    overwrite: bool = False,
) -> Submission:
    """Write the masks of all test scans, 0 and 1 on the grids of the challenge's images, and a zip of them.

    Parameters
    ----------
    dataset : str or Path
        The nnU-Net raw dataset that `nnunet-ms-convert isbi2015` made, with the test scans in it.
    predictions : str or Path
        Folder of masks called after the cases.
    out : str or Path
        Folder to write: the files, and `<team>.zip` of them.
    team : str
        Letters, digits and hyphens.
    file_names : str, optional
        What the files are called: `{scan}` is such as test01_01, `{team}` the team. Ends in `.nii` or `.nii.gz`.
    overwrite : bool, optional
        Whether an existing `out` is replaced.

    Raises
    ------
    ConversionError
        If a name is none, the dataset has no test scans, a scan has no mask, a mask has labels beside 0 and 1, or `out`
        exists.
    TableError
        If cases.csv cannot be read.
    ImageError
        If a mask is damaged or does not lie on the grid of its image.

    Examples
    --------
    >>> write_submission("raw/Dataset815_ISBI2015", "predictions", "submission", "our team")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ConversionError: team: expected letters, digits and hyphens, found 'our team'. Choose another name.
    """
    dataset, predictions, out = Path(dataset), Path(predictions), Path(out)
    if not re.fullmatch(r"[0-9A-Za-z-]+", team):
        raise ConversionError(f"team: expected letters, digits and hyphens, found {team!r}. Choose another name.")
    scans = dict(_scans(dataset))
    names = {case: _name(file_names, scan, team) for case, scan in scans.items()}
    _check_complete(scans, predictions)
    if out.exists() and not overwrite:
        raise ConversionError(f"{out}: exists already. Choose another folder, or --overwrite it.")
    for case in scans:
        _check_mask(predictions / f"{case}.nii.gz", case, dataset)
    with whole_folder(out, replace=overwrite) as aside:
        for case, name in names.items():
            _write(predictions / f"{case}.nii.gz", aside / name, dataset / "provenance" / f"{case}.json")
        with zipfile.ZipFile(aside / f"{team}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            for name in sorted(names.values()):
                entry = zipfile.ZipInfo(name, _DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, (aside / name).read_bytes())
    return Submission(out / f"{team}.zip", sorted(names.values()), list(_notes(scans, predictions, file_names)))


def _scans(dataset: Path) -> Iterator[tuple[str, str]]:
    """Case id and the challenge's name of every test scan."""
    rows: list[Mapping[str, Any]] = read_cases(dataset).to_dict("records")
    found = {str(row["case_id"]): f"{row['patient_id']}_{row['visit']}" for row in rows if _is_test(row)}
    if not found:
        patients = sorted({str(row["patient_id"]) for row in rows})[:3]
        raise ConversionError(
            f"{dataset}: expected scans of the ISBI 2015 test set (patients test01, test02 ...), found patients "
            f"{', '.join(patients)}. Convert the challenge's folder with its test set: nnunet-ms-convert isbi2015."
        )
    yield from sorted(found.items())


def _is_test(row: Mapping[str, Any]) -> bool:
    return bool(_TEST.fullmatch(str(row["patient_id"])) and re.fullmatch(r"\d+", str(row["visit"])))


def _name(pattern: str, scan: str, team: str) -> str:
    try:
        name = pattern.format(scan=scan, team=team)
    except (KeyError, IndexError, ValueError):
        name = ""
    if "{scan}" not in pattern or Path(name).name != name or not name.endswith((".nii", ".nii.gz")):
        raise ConversionError(
            f"file_names: expected a name with {{scan}} (and {{team}}) that ends in .nii or .nii.gz, found {pattern!r}."
            f" Take such as {FILE_NAMES}."
        )
    return name


def _check_complete(scans: Mapping[str, str], predictions: Path) -> None:
    missing = [f"{case}.nii.gz" for case in scans if not (predictions / f"{case}.nii.gz").is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ConversionError(
            f"{predictions}: expected a mask of every test scan, found none of {', '.join(missing[:3])}{more}. "
            "The site scores whole sets: predict these cases too."
        )


def _check_mask(path: Path, case: str, dataset: Path) -> None:
    """Refuse a mask that is not of lesion 1 and background 0, or lies on another grid than its image."""
    mask = read_mask(path, labels=range(256))
    strange = sorted({int(value) for value in np.unique(mask.data)} - {0, 1})
    if strange:
        raise ConversionError(f"{path}: expected lesion 1 and background 0, found labels {strange}. Predict one type.")
    check_grid(path, case, dataset)


def _write(path: Path, target: Path, record: Path) -> None:
    """Write one mask as 0 and 1, 8 bits, through what was done to its images."""
    returned = target.with_name(f"returned_{path.name}")
    bring_back(path, returned, record)
    mask = read_mask(returned)
    returned.unlink()
    write_volume(target, mask.data.astype(np.uint8), mask.grid.affine)


def _notes(scans: Mapping[str, str], predictions: Path, pattern: str) -> Iterator[str]:
    others = sorted(path.name for path in predictions.glob("*.nii*") if path.name.partition(".nii")[0] not in scans)
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        yield f"{predictions}: left out what is of no test scan: {', '.join(others[:3])}{more}"
    if len(scans) != SCANS:
        yield (
            f"{len(scans)} scans; the challenge's test set has {SCANS} of 14 patients. "
            "The site may refuse other numbers."
        )
    if pattern == FILE_NAMES:
        yield f"files are called {FILE_NAMES}, which we could not check with the site: see its own instructions."
