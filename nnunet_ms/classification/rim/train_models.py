"""Training of any of the models in a cross-validation by patient: `nnunet-ms-rim train`."""

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms import commands
from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.options import known_keywords
from nnunet_ms.progress import Progress, unseen

if TYPE_CHECKING:
    import pandas as pd

    from nnunet_ms.arrays import Ints
    from nnunet_ms.classification.rim.fold_models import TrainingOptions
    from nnunet_ms.classification.rim.lesion_set import LesionSet

PROGRAM = "nnunet-ms-rim"
TABLE, SETTINGS, FOLDS = "cross_validation.csv", "settings.json", "folds.csv"
NAMES = (
    *("qsmrimnet", "qsmrimnet-no-oversampling", "rimnet", "rimnet-oversampling"),
    *("aprl", "aprl-oversampling", "radiomics", "radiomics-oversampling"),
)  # those of `fold_models.MODELS`, which costs seconds to import


@known_keywords
def train_rim_models(
    folder: str | Path,
    output: str | Path,
    models: Sequence[str] = ("qsmrimnet",),
    *,
    folds: int = 5,
    seed: int = 0,
    epochs: int | None = None,
    small: bool = False,
    fusion: str = "concat",
    include_self: bool = False,
    device: str = "cpu",
    augmentation: str | None = None,
    progress: Progress = unseen,
) -> "pd.DataFrame":
    """Train models on the same folds by patient; judge each lesion by the fold that has not seen its patient.

    Parameters
    ----------
    folder : str or Path
        Of `nnunet-ms-rim features`. Lesions without a label are left out; their number is in the settings written.
    output : str or Path
        A folder per model, `<model>/fold_<k>/model.pth`, with `<model>/cross_validation.csv`, and one table of all
        models, `cross_validation.csv`. What a killed run had finished is there again for the next one, and a training
        goes on at its last epoch; the result is the same.
    models : sequence of str, optional
        Of `fold_models.MODELS`.
    folds : int, optional
    seed : int, optional
        Of folds and trainings; one seed, one result (on a CPU).
    epochs, small, fusion, include_self, device, augmentation
        See `fold_models.TrainingOptions`.
    progress : Progress, optional

    Returns
    -------
    pandas.DataFrame
        `lesion_set.CROSS_VALIDATION`: one row per model and labelled lesion, its probability out of fold.

    Raises
    ------
    OptionError
        If a model or an option is unknown.
    SettingsError
        If there are too few patients with rim+ lesions, `output` is of other lesions or settings, or another run is
        writing into it.
    TableError
        If the folder is damaged.

    Examples
    --------
    >>> table = train_rim_models("rim_data", "rim_models", ["radiomics"], folds=2)
    >>> len(table), table["fold"].unique().tolist(), bool(table["probability"].between(0, 1).all())
    (72, [0, 1], True)
    >>> train_rim_models("rim_data", "rim_models", ["radiomics"], folds=3)
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: rim_models/settings.json: expected folds 2 as in the run that began this folder, ...
    """
    from nnunet_ms.classification.rim.fold_models import TrainingOptions
    from nnunet_ms.classification.rim.lesion_set import read_lesion_set
    from nnunet_ms.locks import sole_run
    from nnunet_ms.outputs import remove_leftovers

    names = _checked_names(models)
    options = TrainingOptions(seed, epochs, small, fusion, include_self, device, augmentation)  # type: ignore[arg-type]
    lesions = read_lesion_set(folder)
    labelled = lesions.take(~lesions.rows["label"].isna().to_numpy())
    fold = _folds(labelled, folds, seed)
    output = Path(output)
    with sole_run(output):
        remove_leftovers(output)
        _begin(output, _settings(lesions, labelled, folds, options))
        _write_folds(labelled, fold, output / FOLDS)
        tables = [_cross_validated(name, labelled, fold, output / name, options, progress) for name in names]
        return _joined(tables, output)


def _checked_names(models: Sequence[str]) -> list[str]:
    from nnunet_ms.classification.rim.fold_models import MODELS
    from nnunet_ms.options import chosen

    given = [models] if isinstance(models, str) else list(models)
    names = [chosen(name, MODELS, "models") for name in given]
    if not names or len(set(names)) < len(names):
        raise OptionError(f"models: expected different names, at least one, found {given}. Name each once.")
    return names


def _folds(lesions: "LesionSet", folds: int, seed: int) -> "Ints":
    from nnunet_ms.classification.patient_folds import patient_folds

    with_rim = len({patient for patient, rim in zip(lesions.patients, lesions.rim, strict=True) if rim})
    if with_rim < 3:
        raise SettingsError(
            f"lesions: expected 3 patients or more with a rim+ lesion, to train on, to hold back and to judge, found "
            f"{with_rim} with {int(lesions.rim.sum())} rim+ lesions. Add labelled patients: nothing general is learned "
            "from so few."
        )
    fold = patient_folds(lesions.patients, lesions.rim, folds, seed)
    for number in range(folds):
        inside = (fold != number) & lesions.rim
        patients = {lesions.patients[i] for i in inside.nonzero()[0]}
        if len(patients) < 2 or inside.sum() < 3:
            more = f", or ask for {with_rim} folds" if with_rim > folds else ""
            raise SettingsError(
                f"fold {number}: expected 3 rim+ lesions of 2 patients or more to train on, one patient's of them to "
                f"validate with, found {int(inside.sum())} of {len(patients)}. Add labelled patients{more}."
            )
    return fold


def _settings(lesions: "LesionSet", labelled: "LesionSet", folds: int, options: "TrainingOptions") -> dict[str, Any]:
    """What decides the result, and what a reader of the folder wants to know."""
    digest = hashlib.sha256(labelled.patches.tobytes() + labelled.features.tobytes())
    digest.update(labelled.rows[["patient_id", "visit", "lesion_id", "label"]].to_csv().encode())
    return {
        "lesions": len(labelled),
        "rim_lesions": int(labelled.rim.sum()),
        "patients": len(set(labelled.patients)),
        "left_out_without_label": len(lesions) - len(labelled),
        "lesions_sha256": digest.hexdigest(),
        "geometry": list(labelled.geometry),
        "folds": folds,
        **{name: value for name, value in asdict(options).items() if name != "device"},
        "lesion_settings": dict(labelled.settings),
    }


def _begin(output: Path, settings: dict[str, Any]) -> None:
    """Write the settings, or compare them with those of the run that is to be finished."""
    from nnunet_ms.outputs import whole_file

    path = output / SETTINGS
    if path.is_file():
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise SettingsError(
                f"{path}: expected the settings of this folder in JSON ({error}). Write to another folder."
            ) from error
        changed = [name for name in settings if before.get(name) != settings[name]]
        if changed:
            name = changed[0]
            raise SettingsError(
                f"{path}: expected {name} {before.get(name)!r} as in the run that began this folder, found "
                f"{settings[name]!r}. Write to another folder, or remove this one."
            )
        return
    if any(not path.name.startswith(".") for path in output.iterdir()):
        raise SettingsError(
            f"{output}: expected a new folder or one of the same command, found other files. Choose one."
        )
    with whole_file(path) as partial:
        partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _write_folds(lesions: "LesionSet", fold: "Ints", path: Path) -> None:
    from nnunet_ms.tables import write_table

    rows = lesions.rows[["patient_id"]].assign(fold=fold, rim=lesions.rim)
    table = rows.groupby("patient_id", sort=True).agg(
        fold=("fold", "first"), lesion_count=("rim", "size"), prl_count=("rim", "sum")
    )
    write_table(table.reset_index(), path)


def _cross_validated(
    name: str, lesions: "LesionSet", fold: "Ints", folder: Path, options: "TrainingOptions", progress: Progress
) -> "pd.DataFrame":
    import pandas as pd

    from nnunet_ms.tables import write_table

    numbers = list(range(int(fold.max()) + 1))
    tables = [
        _one_fold(name, lesions, fold, number, folder / f"fold_{number}", options, progress)
        for number in progress(numbers, name, lambda number: f"fold {number}")
    ]
    table = pd.concat(tables).sort_index()
    write_table(table, folder / TABLE)
    return table


def _one_fold(
    name: str,
    lesions: "LesionSet",
    fold: "Ints",
    number: int,
    folder: Path,
    options: "TrainingOptions",
    progress: Progress,
) -> "pd.DataFrame":
    """Probabilities of a fold's lesions by the model that was trained on the others; trained unless it was."""
    from nnunet_ms.checkpoints import save_checkpoint
    from nnunet_ms.classification.rim.fold_models import WEIGHTS, fit_fold, load_fold_model, probabilities
    from nnunet_ms.classification.rim.training import STATE
    from nnunet_ms.tables import write_table

    inside = fold == number
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS
    if not path.is_file():
        contents, history = fit_fold(name, lesions.take(~inside), folder, options, number, progress)
        if history is not None:
            write_table(history, folder / "history.csv")
        save_checkpoint(contents, path)
    (folder / STATE).unlink(missing_ok=True)
    contents = load_fold_model(path)
    judged = lesions.take(inside)
    table = judged.rows[["patient_id", "visit", "lesion_id", "label"]].assign(
        probability=probabilities(contents, judged, options.device),
        threshold=contents["threshold"],
        fold=number,
        model=name,
    )
    table.index = inside.nonzero()[0]
    return table


def _joined(tables: "list[pd.DataFrame]", output: Path) -> "pd.DataFrame":
    """All models' rows: of this run, and of earlier ones into the same folder."""
    import pandas as pd

    from nnunet_ms.classification.rim.lesion_set import CROSS_VALIDATION
    from nnunet_ms.tables import read_table, write_table

    frames = {str(table["model"].iloc[0]): table for table in tables}
    for name in NAMES:
        path = output / name / TABLE
        if name not in frames and path.is_file():
            frames[name] = read_table(path, CROSS_VALIDATION)
    table = pd.concat([frames[name] for name in NAMES if name in frames], ignore_index=True)
    write_table(table, output / TABLE)
    return table


def add_train_parser(to: "argparse._SubParsersAction[Any]") -> None:
    """Add `train` to the command's sub-commands."""
    parser = to.add_parser("train", help="train models in a cross-validation by patient")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="that nnunet-ms-rim features wrote, with labels")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder: new, or of the same command")
    parser.add_argument(
        "--models",
        "--model",
        type=lambda text: [name.strip() for name in text.split(",")],
        default=["qsmrimnet"],
        metavar="A,B",
        help=f"some of {', '.join(NAMES)} (default: qsmrimnet), or all",
    )
    parser.add_argument("--folds", type=commands.positive, default=5, help="by patient (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of folds and trainings (default: 0)")
    parser.add_argument("--epochs", type=commands.positive, help="at most (default: 60, of RimNet 40; small: 15 and 4)")
    parser.add_argument("--small", action="store_true", help="small networks, for a CPU; the full ones are the default")
    parser.add_argument(
        "--fusion", default="concat", choices=("concat", "sum"), help="of QSMRim-Net's branches (default: concat)"
    )
    parser.add_argument(
        "--include-self", action="store_true", help="interpolate as the released code, 3 n instead of 2 n rows"
    )
    parser.add_argument(
        "--augmentation",
        choices=("none", "flips", "moves"),
        help="of the networks' images; moves: flips and small shifts and turns (default: flips, of RimNet moves)",
    )
    parser.add_argument("--device", default="cpu", help="of torch, such as cuda (default: cpu)")
    parser.set_defaults(action=run_train)


def run_train(args: argparse.Namespace) -> int:
    """Act on the arguments of `train`; exit code 0."""
    from nnunet_ms.progress import bar

    models = list(NAMES) if args.models == ["all"] else args.models
    table = train_rim_models(
        args.folder,
        args.output,
        models,
        folds=args.folds,
        seed=args.seed,
        epochs=args.epochs,
        small=args.small,
        fusion=args.fusion,
        include_self=args.include_self,
        device=args.device,
        augmentation=args.augmentation,
        progress=bar,
    )
    left_out = json.loads((args.output / SETTINGS).read_text(encoding="utf-8"))["left_out_without_label"]
    without = f" {left_out} lesions without a label were left out." if left_out else ""
    print(
        f"{args.output / TABLE}: {len(table)} probabilities out of fold of {table['model'].nunique()} models.{without}"
    )
    return commands.OK
