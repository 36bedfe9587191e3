"""Take predictions back to where the images came from: BIDS derivatives, or the folders of the source."""

import json
import re
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.cases_table import read_cases
from nnunet_ms.dataset_conversion.preparation import back_to_source
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.volumes import check_same_grid, read_grid, read_mask, read_volume, write_volume
from nnunet_ms.outputs import whole_folder

_BIDS_NAME = re.compile(r"(sub-[0-9A-Za-z]+)(?:_(ses-[0-9A-Za-z]+))?_.*nii(?:\.gz)?")


def write_back(
    dataset: str | Path,
    predictions: str | Path,
    out: str | Path,
    rater: str = "nnunetms",
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write every predicted mask under the name and folder of its source, on the grid of its source.

    Voxels are copied; where the images had been prepared (provenance/), the mask is brought back by nearest neighbour.

    Parameters
    ----------
    dataset : str or Path
        The nnU-Net raw dataset that the predictions were made from, with cases.csv and dataset.json.
    predictions : str or Path
        Folder of masks called after the cases.
    out : str or Path
        Folder to write: a BIDS derivative where the source was BIDS, else the source's folders.
    rater : str, optional
        Name of the model, letters and digits.
    overwrite : bool, optional
        Whether an existing `out` is replaced.

    Returns
    -------
    list of Path
        The masks that were written.

    Raises
    ------
    ConversionError
        If nothing was predicted, a name is not fit for BIDS, `out` exists, or `dataset` is no dataset of ours.
    TableError
        If cases.csv cannot be read.
    ImageError
        If a prediction is damaged or does not lie on the grid of its image.

    Examples
    --------
    The reference masks, in the place of predictions:

    >>> from nnunet_ms.dataset_conversion.convert import convert
    >>> done = convert("study/manifest.csv", dataset_id=801, raw="raw", channels="flair")
    >>> [path.as_posix() for path in write_back(done.folder, done.folder / "labelsTr", "back")]
    ['back/P1/P1_base_nnunetms.nii.gz', 'back/P2/P2_base_nnunetms.nii.gz', 'back/P3/P3_base_nnunetms.nii.gz']
    """
    if not re.fullmatch("[0-9A-Za-z]+", rater):
        raise ConversionError(f"--rater {rater}: expected letters and digits only, as BIDS asks. Choose another name.")
    dataset, predictions, out = Path(dataset), Path(predictions), Path(out)
    cases = read_cases(dataset)
    content = _dataset_json(dataset)
    column = f"source_{content['channel_names']['0']}"
    plan = {path: _target(str(row[column]), str(row["case_id"]), rater) for path, row in _found(cases, predictions)}
    if not plan:
        raise ConversionError(f"{predictions}: expected masks of the cases of {dataset.name}, found none.")
    if out.exists() and not overwrite:
        raise ConversionError(f"{out}: exists already. Choose another folder, or --overwrite it.")
    for path in plan:
        _check_grid(path, dataset)
    with whole_folder(out, replace=overwrite) as aside:
        for path, relative in plan.items():
            (aside / relative).parent.mkdir(parents=True, exist_ok=True)
            _write(path, aside / relative, dataset / "provenance" / f"{path.name.removesuffix('.nii.gz')}.json")
        if any(str(relative).startswith("sub-") for relative in plan.values()):
            _describe(aside / "dataset_description.json", content["name"])
    return [out / relative for relative in plan.values()]


def _dataset_json(dataset: Path) -> dict[str, Any]:
    path = dataset / "dataset.json"
    if not path.is_file():
        raise ConversionError(f"{path}: expected nnU-Net's file, found none. Is this a raw dataset?")
    return json.loads(path.read_text(encoding="utf-8"))


def _write(prediction: Path, target: Path, record: Path) -> None:
    """Copy a mask, or bring it back through what `record` says was done to its images."""
    if not record.is_file():
        shutil.copyfile(prediction, target)
        return
    mask = read_mask(prediction, labels=range(256))
    data, affine = back_to_source(mask.data.astype(np.uint8), json.loads(record.read_text(encoding="utf-8")))
    write_volume(target, data, affine)


def _found(cases: pd.DataFrame, predictions: Path) -> list[tuple[Path, "pd.Series"]]:
    rows = [(predictions / f"{row['case_id']}.nii.gz", row) for _, row in cases.iterrows()]
    return [(path, row) for path, row in rows if path.is_file()]


def _target(source: str, case_id: str, rater: str) -> Path:
    folder, _, name = source.rpartition("/")
    match = _BIDS_NAME.fullmatch(name)
    if not match:
        return Path(folder) / f"{case_id}_{rater}.nii.gz"
    subject, session = match.groups()
    stem = "_".join(part for part in (subject, session) if part)
    return Path(subject, session or "", "anat", f"{stem}_desc-{rater}_label-lesion_mask.nii.gz")


def _check_grid(path: Path, dataset: Path) -> None:
    image = next(dataset.glob(f"images*/{path.name.removesuffix('.nii.gz')}_0000.nii.gz"), None)
    if image is None:
        raise ConversionError(f"{dataset}: expected an image of case {path.name}, found none. Is this its dataset?")
    check_same_grid(read_grid(image), read_volume(path), str(image), str(path))


def _describe(path: Path, name: str) -> None:
    content = {
        "Name": f"Lesion masks of {name}",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "nnunet_ms", "Version": version("nnunet-ms")}],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
