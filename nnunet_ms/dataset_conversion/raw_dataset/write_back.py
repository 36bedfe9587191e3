"""Take predictions back to where the images came from: BIDS derivatives, or the folders of the source."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from nnunet_ms.cases_table import read_cases
from nnunet_ms.dataset_conversion.pairs import BASELINE, FOLLOWUP, SUBTRACTION
from nnunet_ms.dataset_conversion.preparation import back_to_source
from nnunet_ms.dataset_conversion.raw_dataset.bids_derivative import (
    Session,
    SourceDataset,
    describe,
    session_of,
    sidecar,
    source_dataset,
    write_json,
    write_lookup,
)
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.volumes import check_same_grid, read_grid, read_mask, read_volume, write_volume
from nnunet_ms.options import chosen
from nnunet_ms.outputs import whole_folder

LESION = "lesion"


def write_back(
    dataset: str | Path,
    predictions: str | Path,
    out: str | Path,
    rater: str = "nnunetms",
    *,
    probabilities: str | Path | None = None,
    source: str | Path | None = None,
    visit: Literal["baseline", "followup"] = "baseline",
    overwrite: bool = False,
) -> list[Path]:
    """Write every predicted mask under the name and folder of its source, on the grid of its source.

    Voxels are copied; where the images had been prepared (provenance/), the mask is brought back by nearest neighbour,
    a map of probabilities linearly. Where the source was BIDS, a derivative is written that bids-validator accepts:
    sidecars, licence and authors of the source, and with several types of lesion segmentations (`dseg`) with their
    look-up table.

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
    probabilities : str or Path, optional
        Folder of maps called after the cases (`<case>` or `<case>_<lesion type>`), such as `probability` of
        `nnunet-ms-predict`.
    source : str or Path, optional
        The BIDS data set of the images; known without it where `out` is among its derivatives.
    visit : {"baseline", "followup"}, optional
        Of pairs of visits: on whose grid and in whose folder the masks are written.
    overwrite : bool, optional
        Whether an existing `out` is replaced.

    Returns
    -------
    list of Path
        The masks and maps that were written.

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
    cases = _seen_from(read_cases(dataset), chosen(visit, ("baseline", "followup"), "visit"), dataset)
    content = _dataset_json(dataset)
    channels = [str(name) for _, name in sorted(content["channel_names"].items())]
    labels = {name: int(value) for name, value in content["labels"].items() if int(value)}
    cases = cases.assign(named=_raters(cases, rater, visit))
    returned = [
        *_masks(cases, predictions, channels, labels, rater),
        *(_maps(cases, Path(probabilities), channels, labels, rater) if probabilities is not None else ()),
    ]
    if not any(not one.is_map for one in returned):
        raise ConversionError(f"{predictions}: expected masks of the cases of {dataset.name}, found none.")
    if probabilities is not None and not any(one.is_map for one in returned):
        raise ConversionError(f"{probabilities}: expected maps of the cases of {dataset.name}, found none.")
    _check_targets(returned)
    if out.exists() and not overwrite:
        raise ConversionError(f"{out}: exists already. Choose another folder, or --overwrite it.")
    for one in returned:
        check_grid(one.path, one.case_id, dataset)
    given = source_dataset(dataset, out, None if source is None else Path(source))
    with whole_folder(out, replace=overwrite) as aside:
        for one in returned:
            (aside / one.target).parent.mkdir(parents=True, exist_ok=True)
            record = dataset / "provenance" / f"{one.case_id}.json"
            bring_back(one.path, aside / one.target, record, is_map=one.is_map, visit=visit)
        _describe(aside, returned, given, content["name"], rater, channels, labels, _how(predictions))
    return [out / one.target for one in returned]


@dataclass(frozen=True)
class _Returned:
    """A mask or map: its file, its case, where it goes, whose it is, and its session (None: not BIDS)."""

    path: Path
    case_id: str
    target: Path
    rater: str
    session: Session | None
    is_map: bool = False

    @property
    def suffix(self) -> str:
        """The last part of the name, which says what it is."""
        return self.target.name.removesuffix(".nii.gz").rpartition("_")[2]


def _raters(cases: pd.DataFrame, rater: str, visit: str) -> list[str]:
    """Name of the model in each case's file of BIDS; where follow-ups share a baseline it says which one it is of."""
    if visit == "followup" or "baseline_visit" not in cases:
        return [rater] * len(cases)
    shared = cases.duplicated(["patient_id", "baseline_visit"], keep=False)
    names = [f"{rater}To{re.sub('[^0-9A-Za-z]', '', str(name)).capitalize()}" for name in cases["visit"]]
    return [name if several else rater for name, several in zip(names, shared, strict=True)]


def _masks(
    cases: pd.DataFrame, folder: Path, channels: Sequence[str], labels: Mapping[str, int], rater: str
) -> Iterator[_Returned]:
    for row in cases.to_dict("records"):
        path, session, named = folder / f"{row['case_id']}.nii.gz", _session(row, channels), row["named"]
        if path.is_file() and session is None:
            yield _Returned(path, row["case_id"], _beside(row, channels, rater), rater, None)
        elif path.is_file() and session is not None:
            kind = ("mask", named, LESION) if len(labels) == 1 else ("dseg", named)
            yield _Returned(path, row["case_id"], session.path(*kind), named, session)


def _maps(
    cases: pd.DataFrame, folder: Path, channels: Sequence[str], labels: Mapping[str, int], rater: str
) -> Iterator[_Returned]:
    for row in cases.to_dict("records"):
        session, named = _session(row, channels), row["named"]
        for name in ("", *labels):
            path = folder / f"{row['case_id']}{'_' * bool(name)}{name}.nii.gz"
            if not path.is_file():
                continue
            if session is None:
                target = _beside(row, channels, f"{rater}_probability{'_' * bool(name)}{name}")
            else:
                target = session.path("probseg", named, re.sub("[^0-9A-Za-z]", "", name) or LESION)
            yield _Returned(path, row["case_id"], target, named, session, is_map=True)


def _images(row: Mapping[str, Any], channels: Sequence[str]) -> list[str]:
    """Source files of the channels; of a subtraction those of both visits, the baseline's first: there it returns."""
    of_pairs = [name.removesuffix(SUBTRACTION) for name in channels if name.endswith(SUBTRACTION)]
    names = [name + ending for ending in (BASELINE, FOLLOWUP) for name in of_pairs] or list(channels)
    return [str(row[f"source_{name}"]) for name in names if row.get(f"source_{name}")]


def _session(row: Mapping[str, Any], channels: Sequence[str]) -> Session | None:
    images = _images(row, channels)
    # where a dataset has several sources their names stand before the paths
    return session_of([image.removeprefix(f"{row.get('source')}/") for image in images])


def _beside(row: Mapping[str, Any], channels: Sequence[str], rater: str) -> Path:
    """Return the place of a file in the folders of a source that is not BIDS."""
    return Path(_images(row, channels)[0].rpartition("/")[0], f"{row['case_id']}_{rater}.nii.gz")


def _describe(
    folder: Path,
    returned: Sequence[_Returned],
    source: SourceDataset,
    name: str,
    rater: str,
    channels: Sequence[str],
    labels: Mapping[str, int],
    how: str,
) -> None:
    """Write what BIDS asks for beside the files; nothing where there is no session of BIDS."""
    sessions = [one for one in returned if one.session is not None]
    for one in sessions:
        path = folder / one.target.with_name(one.target.name.replace(".nii.gz", ".json"))
        write_json(path, sidecar(one.session, source, one.rater, one.suffix))  # type: ignore[arg-type]  # not None
    for name in dict.fromkeys(one.rater for one in sessions if one.suffix == "dseg"):
        write_lookup(folder, labels, name)
    if sessions:
        describe(folder, name, rater, channels, source, how)


def _how(predictions: Path) -> str:
    """Say how masks were made, where `nnunet-ms-predict` left its record."""
    path = predictions / "prediction.json"
    if not path.is_file():
        return ""
    record = json.loads(path.read_text(encoding="utf-8"))
    return ", ".join(
        f"{key} {record[key]}" for key in ("dataset", "trainer", "folds", "samples", "threshold") if key in record
    )


def _seen_from(cases: pd.DataFrame, visit: str, dataset: Path) -> pd.DataFrame:
    """The cases; for the follow-up's place its files stand in the columns of the baseline's."""
    if visit == "baseline":
        return cases
    names = [name for name in cases if str(name).startswith("source_") and str(name).endswith(FOLLOWUP)]
    if "baseline_visit" not in cases or not names:
        raise ConversionError(f"{dataset}: --visit followup: expected pairs of visits, found none. Leave it out.")
    return cases.assign(**{str(name).removesuffix(FOLLOWUP) + BASELINE: cases[name] for name in names})


def _dataset_json(dataset: Path) -> dict[str, Any]:
    path = dataset / "dataset.json"
    if not path.is_file():
        raise ConversionError(f"{path}: expected nnU-Net's file, found none. Is this a raw dataset?")
    return json.loads(path.read_text(encoding="utf-8"))


def bring_back(path: Path, target: Path, record: Path, *, is_map: bool = False, visit: str = "baseline") -> None:
    """Copy a file, or bring it back through what `record` says was done to its images."""
    if not record.is_file():
        shutil.copyfile(path, target)
        return
    told = json.loads(record.read_text(encoding="utf-8"))
    if visit == "followup":  # of a pair
        told |= {"source_grid": told["followup_grid"], "target_to_source": told["target_to_followup"]}
    if is_map:
        data, affine = back_to_source(read_volume(path).data.astype(np.float32), told, is_label=False)
    else:
        mask = read_mask(path, labels=range(256))
        data, affine = back_to_source(mask.data.astype(np.uint8), told)
    write_volume(target, data, affine)


def _check_targets(returned: Sequence[_Returned]) -> None:
    """Refuse two files of one name: sessions of two sources, or two cases of one session."""
    seen: dict[Path, _Returned] = {}
    for one in returned:
        other = seen.setdefault(one.target, one)
        if other is not one:
            raise ConversionError(
                f"{one.path}: cases {other.case_id} and {one.case_id} would both be written as {one.target}. Take the "
                "predictions of each source back by themselves."
            )


def check_grid(path: Path, case_id: str, dataset: Path) -> None:
    """Raise unless a prediction lies on the grid of its image in the dataset."""
    image = next(dataset.glob(f"images*/{case_id}_0000.nii.gz"), None)
    if image is None:
        raise ConversionError(f"{dataset}: expected an image of case {case_id}, found none. Is this its dataset?")
    check_same_grid(read_grid(image), read_volume(path), str(image), str(path))
