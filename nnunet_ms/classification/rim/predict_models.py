"""Rims called by trained models, per lesion and per visit: `nnunet-ms-rim predict`."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms import commands
from nnunet_ms.errors import ModelError, OptionError, SettingsError
from nnunet_ms.progress import Progress, unseen

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from nnunet_ms.classification.rim.case_images import CaseImages
    from nnunet_ms.classification.rim.cohort import RimCase
    from nnunet_ms.classification.rim.lesion_boxes import BoxSettings
    from nnunet_ms.classification.rim.mosaics import Portrait

PROGRAM = "nnunet-ms-rim"
LESIONS, VISITS, MASKS, PICTURES = "rim_lesions.csv", "visits.csv", "masks", "pictures"
LESION_TYPE = "lesions"  # all lesions of a visit, of which `prl_count` have a rim


def predict_rims(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    manifest: str | Path | None = None,
    pictures: int = 12,
    device: str = "cpu",
    progress: Progress = unseen,
) -> "pd.DataFrame":
    """Judge lesions by the mean of a model's folds.

    Parameters
    ----------
    model : str or Path
        `OUTPUT/<model>` of `train_rim_models`, or an output that holds one model.
    source : str or Path
        Folder of `nnunet-ms-rim features`.
    output : str or Path
        A new folder: `rim_lesions.csv`, `visits.csv` and, with a manifest, `masks` and `pictures`.
    manifest : str or Path, optional
        Of the images that the features are of: for masks of the rim+ lesions in the input's grid, pictures, and visits
        without a lesion.
    pictures : int, optional
        Lesions in each mosaic; 0 draws none.
    device : str, optional
        Of torch.
    progress : Progress, optional

    Returns
    -------
    pandas.DataFrame
        As `rim_lesions.csv`: what the lesions' table has, `probability` (mean of the folds), `probability_sd` (of the
        folds), `threshold` (mean of the folds'), `rim` (1 where probability >= threshold) and `model`.

    Raises
    ------
    ModelError
        If there is no model or more than one, a file is damaged, or it takes other features or patches.
    TableError, ImageError
        If the lesions or images cannot be read, or do not belong together.
    FileExistsError
        If the output exists.
    """
    from nnunet_ms.classification.rim.lesion_set import read_lesion_set
    from nnunet_ms.outputs import whole_folder
    from nnunet_ms.tables import write_table

    if isinstance(pictures, bool) or not isinstance(pictures, int) or pictures < 0:
        raise OptionError(f"pictures: expected a whole number >= 0, found {pictures!r}. 12 are usual.")
    folder = model_folder(model)
    lesions = read_lesion_set(source)
    table = lesions.rows.assign(**_judged(folder, lesions, device, progress))
    cases = _cases(manifest, table)
    with whole_folder(output) as work:
        write_table(table, work / LESIONS)
        write_table(visit_counts(table, cases), work / VISITS)
        if cases:
            settings = _box_settings(lesions.settings)
            _write_images(table, cases, settings, work, pictures, progress)
    return table


def model_folder(model: str | Path) -> Path:
    """Folder with the folds of one model.

    Raises
    ------
    ModelError
        If there is none, or more than one.
    """
    model = Path(model)
    if list(model.glob("fold_*/model.pth")):
        return model
    inside = sorted({path.parent.parent for path in model.glob("*/fold_*/model.pth")})
    if len(inside) == 1:
        return inside[0]
    found = f"models {', '.join(path.name for path in inside)}" if inside else "none"
    step = f"Name one of them: {inside[0]}." if inside else "Train one with nnunet-ms-rim train."
    raise ModelError(f"{model}: expected a folder with one trained model (fold_0/model.pth), found {found}. {step}")


def visit_counts(table: "pd.DataFrame", cases: "Sequence[RimCase]" = ()) -> "pd.DataFrame":
    """Lesions and rims per visit, in the columns of `visits.csv` (`tables.VISITS`) and `prl_count`.

    Parameters
    ----------
    table : pandas.DataFrame
        As `predict_rims` returns it.
    cases : sequence of RimCase, optional
        All visits: those without a lesion have 0 of them, and no rim.
    """
    import pandas as pd

    told = {(case.patient_id, case.visit): case.week for case in cases}
    rows = []
    groups = dict(list(table.groupby(["patient_id", "visit"], sort=False)))
    for patient, visit in {**told, **dict.fromkeys(groups)}:
        lesions = groups.get((patient, visit), table.iloc[:0])
        week = float(lesions["week"].iloc[0]) if len(lesions) and "week" in lesions else float("nan")
        rows.append(
            {
                "case_id": f"{patient}_{visit}",
                "patient_id": patient,
                "visit": visit,
                "week": told.get((patient, visit), week),
                "rater": str(table["model"].iloc[0]) if len(table) else "",
                "lesion_type": LESION_TYPE,
                "lesion_count": len(lesions),
                "volume_ml": float(lesions["volume_ml"].sum()) if "volume_ml" in lesions else float("nan"),
                "prl_count": int((lesions["rim"] == 1).sum()),
            }
        )
    return pd.DataFrame(rows)


def _judged(folder: Path, lesions: Any, device: str, progress: Progress) -> dict[str, Any]:
    import numpy as np

    from nnunet_ms.classification.rim.fold_models import WEIGHTS, check_device, load_fold_model, probabilities

    check_device(device)
    paths = sorted(folder.glob(f"fold_*/{WEIGHTS}"))
    models = [load_fold_model(path) for path in paths]
    if len({contents["model"] for contents in models}) > 1:
        raise ModelError(f"{folder}: expected folds of one model, found several. Copy the folder again.")
    found = np.stack(
        [
            probabilities(contents, lesions, device)
            for contents in progress(models, "folds", lambda contents: f"fold {contents['fold']}")
        ]
    )
    mean, threshold = found.mean(axis=0), float(np.mean([contents["threshold"] for contents in models]))
    return {
        "probability": mean,
        "probability_sd": found.std(axis=0),
        "threshold": threshold,
        "rim": (mean >= threshold).astype(int),
        "model": models[0]["model"],
    }


def _cases(manifest: str | Path | None, table: "pd.DataFrame") -> "list[RimCase]":
    """All visits of a manifest; SettingsError if lesions are of visits that it has not."""
    if manifest is None:
        return []
    from nnunet_ms.classification.rim.cohort import read_cohort

    cases = read_cohort(manifest)
    known = {(case.patient_id, case.visit) for case in cases}
    missing = [key for key in zip(table["patient_id"], table["visit"], strict=True) if key not in known]
    if missing:
        raise SettingsError(
            f"{manifest}: expected the visits of lesions.csv, patient {missing[0][0]} visit {missing[0][1]} lacks. "
            "Give the manifest that the features were measured from."
        )
    return cases


def _box_settings(written: Mapping[str, Any]) -> "BoxSettings":
    """How the lesions of a features folder were taken apart."""
    from dataclasses import fields

    from nnunet_ms.classification.rim.lesion_boxes import BoxSettings
    from nnunet_ms.lesions.confluent import Splitting

    known = {field.name for field in fields(BoxSettings)}
    chosen = {name: value for name, value in written.items() if name in known}
    if "geometry" in chosen:
        chosen["geometry"] = tuple(chosen["geometry"])
    if "splitting" in chosen:
        chosen["splitting"] = Splitting(**chosen["splitting"])
    return BoxSettings(**chosen)


def _write_images(
    table: "pd.DataFrame",
    cases: "Sequence[RimCase]",
    settings: "BoxSettings",
    work: Path,
    pictures: int,
    progress: Progress,
) -> None:
    """Masks of all visits, and the mosaics; each visit is read once."""
    from nnunet_ms.classification.rim.mosaics import certain
    from nnunet_ms.classification.rim.predicted_masks import read_numbered, write_rim_mask

    chosen = certain(table, pictures)
    wanted = {place for places in chosen for place in places}
    portraits: dict[int, Portrait] = {}
    for case in progress(cases, "masks", lambda case: case.case_id):
        its = (table["patient_id"] == case.patient_id) & (table["visit"] == case.visit)
        rows = table[its.to_numpy()]
        images, numbers = read_numbered(case, rows, settings)
        write_rim_mask(work / MASKS / f"{case.case_id}.nii.gz", images, numbers, rows)
        for place in wanted & set(rows.index):
            portraits[place] = _portrait(rows.loc[place], images, numbers)
    _draw_mosaics(chosen, portraits, str(table["model"].iloc[0]) if len(table) else "", work / PICTURES)


def _portrait(row: "pd.Series", images: "CaseImages", numbers: "npt.NDArray[np.int32]") -> "Portrait":
    from nnunet_ms.classification.rim.mosaics import caption_of, portrait_of

    mask = numbers == int(row["lesion_id"])
    return portrait_of(images.grid, images.qsm_ppb, images.flair, mask, caption_of(row))


def _draw_mosaics(
    chosen: tuple[list[int], list[int]], portraits: "dict[int, Portrait]", model: str, folder: Path
) -> None:
    from nnunet_ms.classification.rim.mosaics import draw_mosaic

    titles = {"most_certain": "Most certain: highest and lowest probability", "least_certain": "Least certain"}
    for (name, title), places in zip(titles.items(), chosen, strict=True):
        if places:
            draw_mosaic([portraits[i] for i in places], f"{title} ({model})", folder / f"{name}.png")


def add_predict_parser(to: "argparse._SubParsersAction[Any]") -> None:
    """Add `predict` to the command's sub-commands."""
    parser = to.add_parser("predict", help="judge lesions by a trained model")
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of one model that nnunet-ms-rim train wrote")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="that nnunet-ms-rim features wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder")
    parser.add_argument("--manifest", type=Path, help="of the images: writes masks and pictures too")
    parser.add_argument("--pictures", type=int, default=12, help="lesions in each picture (default: 12; 0: none)")
    parser.add_argument("--device", default="cpu", help="of torch, such as cuda (default: cpu)")
    parser.set_defaults(action=run_predict)


def run_predict(args: argparse.Namespace) -> int:
    """Act on the arguments of `predict`; exit code 0."""
    from nnunet_ms.progress import bar

    table = predict_rims(
        args.model,
        args.folder,
        args.output,
        manifest=args.manifest,
        pictures=args.pictures,
        device=args.device,
        progress=bar,
    )
    images = "" if args.manifest else " No masks and pictures: name the images by --manifest."
    print(f"{args.output / LESIONS}: {int(table['rim'].sum())} of {len(table)} lesions rim+.{images}")
    return commands.OK
