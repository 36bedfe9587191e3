"""Networks of every strategy, and what they are compared with, in one cross-validation: `nnunet-ms-stratify train`.

===============================  ====================================================================================
`settings.json`                  what decides the result; another run goes on only with the same
`folds.csv`                      `FOLDS`: the fold of each patient; may be given to another run (`--folds-file`)
`cross_validation.csv`           `prediction_tables.CROSS_VALIDATION`: strategies and baselines, out of fold
`<strategy>/cross_validation.csv`  the same, of one strategy
`<strategy>/fold_<k>/model.pt`   the network, see `fold_models.load_fold_model`; beside it `history.csv`
`baselines.csv`                  `baselines.BASELINE_FITS`: what `evaluate` judges other cohorts with
`left_out.csv`                   `prepared_folder.LEFT_OUT`: scans without the region of a strategy
===============================  ====================================================================================
"""

import argparse
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms import commands
from nnunet_ms.errors import OptionError
from nnunet_ms.options import different_words, known_keywords
from nnunet_ms.progress import Progress, unseen

if TYPE_CHECKING:
    import pandas as pd

    from nnunet_ms.arrays import Bools, Ints, SingleFloats
    from nnunet_ms.classification.stratification.fold_models import Fold, TrainingOptions
    from nnunet_ms.classification.stratification.prepared_folder import PreparedCohort
    from nnunet_ms.classification.stratification.training import Examples

PROGRAM = "nnunet-ms-stratify"
TABLE, FOLDS, FITS, LEFT_OUT = "cross_validation.csv", "folds.csv", "baselines.csv", "left_out.csv"
INPUTS = "inputs.npy"  # of a strategy whose training is under way
STRATEGIES = ("global", "wm", "gm", "sgm", "ventricles", "brainstem")  # `regions.STRATEGIES`, seconds to import
NETWORKS = ("densenet121", "resnet18", "compact")  # of `networks.NetworkName`


@known_keywords
def train_disability_models(
    prepared: str | Path,
    output: str | Path,
    strategies: Sequence[str] = STRATEGIES,
    *,
    network: str = "densenet121",
    small: bool = False,
    folds: int = 7,
    folds_file: str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    coarser: int = 1,
    augmentation: bool = True,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    patience: int | None = None,
    progress: Progress = unseen,
    tell: Callable[[str], None] = print,
) -> "pd.DataFrame":
    """Train a network per strategy and fold, and fit the baselines on the same folds.

    In a fold of seven, five parts train, the next one stops the training and chooses the threshold, one is judged.

    Parameters
    ----------
    prepared : str or Path
        Folder of `nnunet-ms-stratify prepare`.
    output : str or Path
        A new folder, or one of the same call: what a killed run had finished is there again, and a training goes on at
        its last epoch; the result is the same. Further strategies may be added to it.
    strategies : sequence of str, optional
        Of `regions.STRATEGIES`. A scan without the region is left out of that strategy, and listed.
    network, small, device, coarser, augmentation, epochs, batch_size, learning_rate, weight_decay, patience
        See `fold_models.TrainingOptions`.
    folds, folds_file : optional
        See `study_folds.study_folds`.
    seed : int, optional
        Of folds and trainings; one seed, one result (on a CPU).
    progress : Progress, optional
    tell : callable, optional
        Called with each line that a reader must know, such as what was left out.

    Returns
    -------
    pandas.DataFrame
        As `cross_validation.csv`.

    Raises
    ------
    OptionError
        If a strategy or an option is unknown.
    SettingsError
        If there are too few patients of a class, the output is of other scans or settings, or another run writes it.
    TableError
        If the folder is damaged, or the table of folds does not fit.
    ImageError
        If a scan is damaged, or holds values that are no numbers.

    Examples
    --------
    >>> train_disability_models("absent", "models", ["global", "ventricles"], small=True)
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: absent: expected a folder of nnunet-ms-stratify prepare, found no scans.csv. Run ...
    """
    from nnunet_ms.classification.step_folder import claim_folder
    from nnunet_ms.classification.stratification.fold_models import TrainingOptions
    from nnunet_ms.classification.stratification.prepared_folder import read_prepared
    from nnunet_ms.classification.stratification.study_folds import study_folds
    from nnunet_ms.locks import sole_run
    from nnunet_ms.outputs import remove_leftovers

    names, out = different_words(strategies, STRATEGIES, "strategies"), Path(output)
    options = TrainingOptions(
        network, small, seed, device, coarser, augmentation,  # type: ignore[arg-type]
        epochs, batch_size, learning_rate, weight_decay, patience,
    )  # fmt: skip
    cohort = read_prepared(prepared)
    fold = study_folds(cohort.scans, folds, seed, folds_file)
    told = _settings(cohort, fold, options)
    for name in names:  # before the folder is claimed with settings that cannot be
        _check_strategy(name, cohort, fold, options)
    with sole_run(out):
        claim_folder(out, told)
        remove_leftovers(out)
        _write_folds(cohort.scans, fold, out / FOLDS)
        _write_baselines(cohort.scans, fold, out, tell)
        for name in progress(names, "strategies", str):
            _cross_validated(name, cohort, fold, out, options, told, progress, tell)
        return _joined(out)


def _settings(cohort: "PreparedCohort", fold: "Ints", options: "TrainingOptions") -> dict[str, Any]:
    """What decides the result, and what a reader of the folder wants to know."""
    from dataclasses import asdict

    scans = cohort.scans
    return {
        "step": f"{PROGRAM} train",
        "scans": len(scans),
        "patients": int(scans["patient_id"].nunique()),
        "disabled": int(scans["disabled"].sum()),
        "scans_sha256": _digest(cohort, fold),
        "folds": int(fold.max()) + 1,
        "network": options.network,
        "small": options.small,
        "coarser": options.coarser,
        "seed": options.seed,
        **asdict(options.recipe),
        "preparation": cohort.preparation(),
    }


def _digest(cohort: "PreparedCohort", fold: "Ints") -> str:
    """Of the scans' files, what is known of them, and their folds."""
    from nnunet_ms.tables import csv_text

    digest = hashlib.sha256(csv_text(cohort.scans).encode())
    digest.update(fold.tobytes())
    for case_id in cohort.scans["case_id"]:
        path = cohort.folder / "scans" / f"{case_id}.npz"
        digest.update(path.read_bytes() if path.is_file() else b"")  # a missing one is told of when it is read
    return digest.hexdigest()


def _write_folds(scans: "pd.DataFrame", fold: "Ints", path: Path) -> None:
    from nnunet_ms.tables import write_table

    rows = scans[["patient_id"]].assign(fold=fold, disabled=scans["disabled"])
    table = rows.groupby("patient_id", sort=True).agg(
        fold=("fold", "first"), scans=("disabled", "size"), disabled_scans=("disabled", "sum")
    )
    write_table(table.reset_index(), path)


def _write_baselines(scans: "pd.DataFrame", fold: "Ints", out: Path, tell: Callable[[str], None]) -> None:
    from nnunet_ms.classification.stratification.baselines import baselines
    from nnunet_ms.tables import write_table

    found = baselines(scans, fold)
    for note in found.notes:
        tell(note)
    write_table(found.rows, out / "baselines" / TABLE)
    write_table(found.fits, out / FITS)


def _check_strategy(name: str, cohort: "PreparedCohort", fold: "Ints", options: "TrainingOptions") -> None:
    """Raise where a strategy has no scans, its folds are of one class, or its images do not fit the network."""
    from nnunet_ms.classification.stratification.fold_models import check_images
    from nnunet_ms.errors import SettingsError

    kept = _kept(name, cohort)
    if not kept.any():
        raise SettingsError(
            f"{name}: expected scans with the region, found none of {len(kept)}. Prepare them with label maps or "
            "--priors, or leave this strategy out."
        )
    _parts(name, cohort, fold, kept)
    check_images(cohort.load(case_id := str(cohort.scans["case_id"][kept].iloc[0])), name, options, case_id)


def _parts(name: str, cohort: "PreparedCohort", fold: "Ints", kept: "Bools") -> "list[Fold]":
    from nnunet_ms.classification.stratification.study_folds import parts_of

    truth = cohort.scans["disabled"].to_numpy()
    return [parts_of(fold, number, kept, truth, name) for number in range(int(fold.max()) + 1)]


def _cross_validated(
    name: str,
    cohort: "PreparedCohort",
    fold: "Ints",
    out: Path,
    options: "TrainingOptions",
    told: dict[str, Any],
    progress: Progress,
    tell: Callable[[str], None],
) -> None:
    """Write the table of one strategy, unless it is there with all of its scans."""
    import pandas as pd

    from nnunet_ms.classification.stratification.prediction_tables import CROSS_VALIDATION
    from nnunet_ms.tables import read_table, write_table

    folder, kept = out / name, _kept(name, cohort)
    _note_left_out(name, cohort, out, tell)
    if (folder / TABLE).is_file() and len(read_table(folder / TABLE, CROSS_VALIDATION)) == kept.sum():
        return
    parts = _parts(name, cohort, fold, kept)
    examples = _examples(name, cohort, kept, folder, options.coarser)
    rows = cohort.scans[kept].reset_index(drop=True)
    tables = [
        _one_fold(name, rows, examples, part, folder / f"fold_{part.number}", options, told, progress)
        for part in progress(parts, name, lambda part: f"fold {part.number}")
    ]
    (folder / INPUTS).unlink(missing_ok=True)
    write_table(pd.concat(tables).sort_index(), folder / TABLE)


def _kept(name: str, cohort: "PreparedCohort") -> "Bools":
    """Which scans have the region."""
    lacking = cohort.left_out.loc[cohort.left_out["strategy"] == name, "case_id"]
    return ~cohort.scans["case_id"].isin(lacking).to_numpy()


def _note_left_out(name: str, cohort: "PreparedCohort", out: Path, tell: Callable[[str], None]) -> None:
    """Add scans without the region to `left_out.csv`."""
    import pandas as pd

    from nnunet_ms.classification.stratification.prepared_folder import LEFT_OUT as LEFT_OUT_TABLE
    from nnunet_ms.tables import read_table, write_table

    lacking = cohort.left_out[cohort.left_out["strategy"] == name]
    path = out / LEFT_OUT
    others = read_table(path, LEFT_OUT_TABLE) if path.is_file() else pd.DataFrame(columns=LEFT_OUT_TABLE.names)
    mine = lacking[lacking["case_id"].isin(cohort.scans["case_id"])]
    write_table(pd.concat([others[others["strategy"] != name], mine], ignore_index=True), path)
    if len(mine):
        tell(f"{name}: {len(mine)} of {len(cohort.scans)} scans lack the region and are left out: {path}.")


def _examples(name: str, cohort: "PreparedCohort", kept: "Bools", folder: Path, coarser: int) -> "Examples":
    """Images on the disk, as a cohort may be larger than the memory, and classes."""
    import numpy as np

    from nnunet_ms.classification.stratification.inputs import network_input, open_inputs, write_inputs
    from nnunet_ms.classification.stratification.training import Examples

    cases = cohort.scans["case_id"][kept].tolist()

    def images(case_id: str) -> "SingleFloats":
        return network_input(cohort.load(case_id), name, coarser, case_id)  # type: ignore[arg-type]

    path = folder / INPUTS
    write_inputs(path, len(cases), map(images, cases))
    truth = cohort.scans["disabled"].to_numpy(np.float32)[kept]
    return Examples(open_inputs(path), truth[:, None])


def _one_fold(
    name: str,
    rows: "pd.DataFrame",
    examples: "Examples",
    part: Any,
    folder: Path,
    options: "TrainingOptions",
    told: dict[str, Any],
    progress: Progress,
) -> "pd.DataFrame":
    """Probabilities of a fold's scans by the network that was trained on the others; trained unless it was."""
    from scipy.special import expit

    from nnunet_ms.checkpoints import save_checkpoint
    from nnunet_ms.classification.stratification.fold_models import WEIGHTS, fit_fold, load_fold_model, model_logits
    from nnunet_ms.classification.stratification.training import STATE
    from nnunet_ms.tables import write_table

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS
    if not path.is_file():
        patients = sorted(set(rows["patient_id"].iloc[part.validation].astype(str)))
        about = {"strategy": name, "preparation": told["preparation"], "validation_patients": patients}
        marks = f"{name} {told['scans_sha256']}"
        contents, trained = fit_fold(examples, part, folder, options, about, marks=marks, progress=progress)
        write_table(trained.history, folder / "history.csv")
        save_checkpoint(contents, path)
    (folder / STATE).unlink(missing_ok=True)
    contents = load_fold_model(path)
    judged = rows.iloc[part.judged]
    logits = model_logits(contents, examples.images, part.judged, options.device)
    return judged[["patient_id", "visit"]].assign(
        model=name,
        fold=part.number,
        truth=judged["disabled"].astype(int),
        probability=expit(logits[:, 0]),
        threshold=contents["threshold"],
    )


def _joined(out: Path) -> "pd.DataFrame":
    """Rows of the strategies that are ready, of this run and of earlier ones into the same folder, and of baselines."""
    import pandas as pd

    from nnunet_ms.classification.stratification.prediction_tables import CROSS_VALIDATION
    from nnunet_ms.tables import read_table, write_table

    paths = [out / name / TABLE for name in (*STRATEGIES, "baselines")]
    table = pd.concat([read_table(path, CROSS_VALIDATION) for path in paths if path.is_file()], ignore_index=True)
    write_table(table, out / TABLE)
    return table


def add_train_parser(to: "argparse._SubParsersAction[Any]") -> None:
    """Add `train` to the command's sub-commands."""
    parser = to.add_parser(
        "train",
        help="a network per strategy and fold, and the baselines, in one cross-validation by patient",
        description="Learn EDSS >= 3.0 from the whole brain and from single regions, in folds by patient.",
    )
    parser.add_argument("prepared", type=Path, metavar="PREPARED", help="that nnunet-ms-stratify prepare wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder: new, or of the same call")
    parser.add_argument(
        "--strategies",
        type=lambda text: [name.strip() for name in text.split(",")],
        default=list(STRATEGIES),
        metavar="A,B",
        help=f"some of {', '.join(STRATEGIES)} (default: all)",
    )
    add_network_options(parser)
    parser.add_argument("--folds", type=commands.positive, default=7, help="by patient (default: %(default)s)")
    parser.add_argument("--folds-file", type=Path, metavar="CSV", help="patient_id and fold (0, 1, ...), not drawn")
    add_survival_options(parser)
    parser.set_defaults(action=run_train)


def add_survival_options(parser: argparse.ArgumentParser) -> None:
    """Add what `--task survival` reads."""
    group = parser.add_argument_group("task")
    group.add_argument(
        "--task",
        choices=("disability", "survival"),
        default="disability",
        help="EDSS >= 3.0, or time to confirmed progression (default: %(default)s)",
    )
    group.add_argument(
        "--assessments", type=Path, metavar="CSV", help="of survival: repeated EDSS, patient_id, week or date, edss"
    )
    group.add_argument("--outcome", choices=("cdp24", "cdp12"), help="of survival: weeks that confirm (default: cdp24)")
    group.add_argument("--intervals", type=commands.positive, metavar="N", help="of survival: of time (default: 6)")
    group.add_argument("--interval-weeks", type=float, metavar="N", help="of survival: length of each, instead")


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add what `network_options` reads: which network, and how it is trained."""
    group = parser.add_argument_group("network")
    group.add_argument("--network", choices=NETWORKS, default=NETWORKS[0], help="design (default: %(default)s)")
    group.add_argument("--small", action="store_true", help="few filters and few, large steps, for a CPU")
    group.add_argument(
        "--coarser", type=commands.positive, default=1, metavar="N", help="mean of N x N x N voxels (default: 1)"
    )
    group.add_argument("--no-augmentation", action="store_true", help="take the images as they are")
    group.add_argument("--epochs", type=commands.positive, help="at most (default: 100; small: 16)")
    group.add_argument("--batch-size", type=commands.positive, metavar="N", help="scans (default: 4; small: 8)")
    group.add_argument("--learning-rate", type=float, metavar="X", help="of AdamW (default: 1e-4; small: 3e-3)")
    group.add_argument("--weight-decay", type=float, metavar="X", help="of AdamW (default: 1e-2)")
    group.add_argument(
        "--patience", type=commands.positive, metavar="N", help="epochs without a better one (default: 20; small: 8)"
    )
    group.add_argument("--seed", type=int, default=0, help="of folds and trainings (default: 0)")
    group.add_argument("--device", default="cpu", help="of torch, such as cuda (default: cpu)")


def network_options(args: argparse.Namespace) -> dict[str, Any]:
    """Keywords of `add_network_options`, as `train_disability_models` takes them."""
    names = ("network", "small", "coarser", "epochs", "batch_size", "learning_rate", "weight_decay", "patience")
    given = {name: getattr(args, name) for name in (*names, "seed", "device")}
    return {**given, "augmentation": not args.no_augmentation}


def run_train(args: argparse.Namespace) -> int:
    """Act on the arguments of `train`; exit code 0."""
    from nnunet_ms.progress import bar

    if args.task == "survival":
        return run_train_survival(args)
    for shown in ("assessments", "outcome", "intervals", "interval-weeks"):
        if getattr(args, shown.replace("-", "_")) is not None:
            raise OptionError(f"{shown}: expected it with --task survival, found none. Add it, or leave {shown} out.")
    table = train_disability_models(
        args.prepared,
        args.output,
        args.strategies,
        folds=args.folds,
        folds_file=args.folds_file,
        **network_options(args),
        progress=bar,
    )
    scans = len(table.drop_duplicates(["patient_id", "visit"]))
    print(
        f"{args.output / TABLE}: probabilities out of fold of {scans} scans by {table['model'].nunique()} models: "
        f"{', '.join(table['model'].unique())}."
    )
    return commands.OK


def run_train_survival(args: argparse.Namespace) -> int:
    """Act on the arguments of `train --task survival`; exit code 0."""
    from nnunet_ms.classification.stratification.survival_models import train_survival_models
    from nnunet_ms.progress import bar

    if args.assessments is None:
        raise OptionError("assessments: expected a table of repeated EDSS for --task survival, found none. Name one.")
    if args.folds_file is not None:
        raise OptionError("folds-file: expected none with --task survival, whose folds are drawn. Leave it out.")
    table = train_survival_models(
        args.prepared,
        args.output,
        args.assessments,
        args.strategies,
        **network_options(args),
        outcome=args.outcome or "cdp24",
        intervals=args.intervals or 6,
        interval_weeks=args.interval_weeks,
        folds=args.folds,
        progress=bar,
    )
    patients = table.drop_duplicates("case_id")
    events = int(patients["event"].sum())
    print(
        f"{args.output / TABLE}: survival curves out of fold of {len(patients)} patients, {events} with confirmed "
        f"progression, by {table['model'].nunique()} models: {', '.join(table['model'].unique())}."
    )
    return commands.OK
