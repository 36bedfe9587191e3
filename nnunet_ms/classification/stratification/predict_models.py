"""Risk of disability of other scans by the frozen networks of one strategy: `nnunet-ms-stratify predict`.

Nothing is trained, chosen or scaled on these scans: an external evaluation is `predict`, then `evaluate`.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms import commands
from nnunet_ms.errors import ModelError, NnunetMsError, OptionError
from nnunet_ms.options import known_keywords
from nnunet_ms.progress import Progress, unseen

if TYPE_CHECKING:
    import pandas as pd

    from nnunet_ms.arrays import Floats
    from nnunet_ms.classification.stratification.prepared_folder import PreparedCohort
    from nnunet_ms.parallel import Failure

PROGRAM = "nnunet-ms-stratify"
PREDICTIONS, FAILURES, LEFT_OUT, SETTINGS = "predictions.csv", "failures.csv", "left_out.csv", "settings.json"
SAME = ("network", "small", "outputs", "shape", "coarser", "strategy", "task", "folds", "preparation", "options")


@known_keywords
def predict_disability(
    model: str | Path,
    prepared: str | Path,
    output: str | Path,
    *,
    device: str = "cpu",
    progress: Progress = unseen,
) -> "pd.DataFrame":
    """Judge scans by the mean of a strategy's networks, one of each fold.

    Parameters
    ----------
    model : str or Path
        `MODELS/<strategy>` of `train_disability_models`, or a folder that holds one strategy.
    prepared : str or Path
        Folder of `nnunet-ms-stratify prepare`, on the grid of the training.
    output : str or Path
        A new folder: `predictions.csv`; `left_out.csv`, scans without the region; `failures.csv`, damaged
        scans; `settings.json`, what the networks are.
    device : str, optional
        Of torch.
    progress : Progress, optional

    Returns
    -------
    pandas.DataFrame
        As `predictions.csv`: `patient_id`, `visit`, `probability` (mean of the networks), `probability_sd` (of the
        networks), `threshold` (mean of the folds' thresholds, chosen in training), `disabled` (1 where
        probability >= threshold), `model`.

    Raises
    ------
    ModelError
        If there is no model or more than one, a fold lacks, a file is damaged or altered, or the scans' grid differs.
    SettingsError
        If torch has no such device.
    TableError
        If the prepared folder is damaged.
    FileExistsError
        If the output exists.

    Examples
    --------
    >>> predict_disability("absent/ventricles", "prepared_elsewhere", "predicted")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: absent/ventricles: expected a folder of one strategy (fold_0/model.pt), found none. ...
    """
    from nnunet_ms.classification.stratification.prepared_folder import read_prepared
    from nnunet_ms.classification.torch_runs import check_device
    from nnunet_ms.outputs import whole_folder
    from nnunet_ms.tables import write_failures, write_table

    check_device(device)
    models = fold_models_of(strategy_folder(model))
    _check_task(models[0], strategy_folder(model))
    cohort = read_prepared(prepared)
    with whole_folder(output) as folder:
        left_out = cohort.left_out[cohort.left_out["strategy"] == models[0]["strategy"]]
        table, failures = _judged(models, cohort, set(left_out["case_id"]), device, progress)
        write_table(table, folder / PREDICTIONS)
        write_table(left_out, folder / LEFT_OUT)
        write_failures(failures, folder / FAILURES)
        _write_settings(models, cohort, folder / SETTINGS)
    return table


def _check_task(contents: Mapping[str, Any], folder: Path) -> None:
    from nnunet_ms.classification.stratification.fold_models import DISABILITY

    if contents["task"] != DISABILITY or contents["outputs"] != 1:
        raise ModelError(
            f"{folder}: expected networks of {DISABILITY}, with one output, found {contents['task']} with "
            f"{contents['outputs']}. Name a strategy that {PROGRAM} train made for {DISABILITY}."
        )


def strategy_folder(model: str | Path) -> Path:
    """Folder with the folds of one strategy.

    Raises
    ------
    ModelError
        If there is none, or more than one.

    Examples
    --------
    >>> strategy_folder("nothing")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: nothing: expected a folder of one strategy (fold_0/model.pt), found none. Train one ...
    """
    model = Path(model)
    if list(model.glob("fold_*/model.pt")):
        return model
    inside = sorted({path.parent.parent for path in model.glob("*/fold_*/model.pt")})
    if len(inside) == 1:
        return inside[0]
    found = f"strategies {', '.join(path.name for path in inside)}" if inside else "none"
    step = f"Name one of them: {inside[0]}." if inside else f"Train one with {PROGRAM} train."
    raise ModelError(f"{model}: expected a folder of one strategy (fold_0/model.pt), found {found}. {step}")


def fold_models_of(folder: Path) -> list[dict[str, Any]]:
    """All folds of a strategy, in their order; see `fold_models.load_fold_model`.

    Raises
    ------
    ModelError
        If a fold lacks or is damaged, or they are not of one training.

    Examples
    --------
    >>> fold_models_of(Path("absent/ventricles"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: absent/ventricles: expected a folder of one strategy (fold_0/model.pt), found none. ...
    """
    from nnunet_ms.classification.stratification.fold_models import WEIGHTS, load_fold_model

    models = [load_fold_model(path) for path in sorted(strategy_folder(folder).glob(f"fold_*/{WEIGHTS}"))]
    first = models[0]
    for other in models[1:]:
        differing = [name for name in SAME if other[name] != first[name]]
        if differing:
            raise ModelError(
                f"{folder}: expected folds of one training, found {differing[0]} {first[differing[0]]!r} in fold "
                f"{first['fold']} and {other[differing[0]]!r} in fold {other['fold']}. Copy the folder again."
            )
    lacking = sorted(set(range(first["folds"])) - {contents["fold"] for contents in models})
    if lacking or len(models) > first["folds"]:
        found = f"fold {lacking[0]} lacks" if lacking else "one stands twice"
        raise ModelError(
            f"{folder}: expected folds 0 to {first['folds'] - 1}, {found} ({len(models)} found). Repeat {PROGRAM} "
            "train to go on with it, or copy the folder again."
        )
    return sorted(models, key=lambda contents: int(contents["fold"]))


def _judged(
    models: Sequence[Mapping[str, Any]], cohort: "PreparedCohort", left_out: set[str], device: str, progress: Progress
) -> "tuple[pd.DataFrame, list[Failure]]":
    import numpy as np
    import pandas as pd

    from nnunet_ms.classification.stratification.fold_models import network_of
    from nnunet_ms.parallel import Failure

    networks = [network_of(contents).to(device) for contents in models]
    threshold = float(np.mean([contents["threshold"] for contents in models]))
    rows, failures = [], []
    cases = [row for row in cohort.scans.itertuples() if row.case_id not in left_out]
    for case in progress(cases, "scans", lambda case: str(case.case_id)):
        try:
            found = scan_probabilities(models[0], networks, cohort, str(case.case_id), device)
        except ModelError:
            raise  # the grid: of all scans
        except NnunetMsError as error:
            failures.append(Failure(str(case.case_id), str(error)))
            continue
        rows.append((case.patient_id, case.visit, float(found.mean()), float(found.std())))
    table = pd.DataFrame(rows, columns=["patient_id", "visit", "probability", "probability_sd"])
    called = (table["probability"] >= threshold).astype(int)
    return table.assign(threshold=threshold, disabled=called, model=models[0]["strategy"]), failures


def scan_probabilities(
    contents: Mapping[str, Any], networks: Sequence[Any], cohort: "PreparedCohort", case_id: str, device: str
) -> "Floats":
    """Probability of a scan by each network of a strategy, (folds,).

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> from nnunet_ms.classification.stratification.networks import stratification_network
    >>> from nnunet_ms.classification.stratification.preparation import PreparedScan
    >>> shape, told = [20, 24, 20], ({}, {}, "", 0.9, np.eye(4))
    >>> scan = PreparedScan(np.ones((2, *shape), np.float32), np.ones(shape, bool), *told)
    >>> cohort = SimpleNamespace(load=lambda case_id: scan)
    >>> networks = [stratification_network("compact", small=True, shape=shape).eval() for _ in range(2)]
    >>> contents = {"strategy": "global", "coarser": 1, "shape": shape}
    >>> scan_probabilities(contents, networks, cohort, "P1_base", "cpu").shape
    (2,)
    """
    import numpy as np
    from scipy.special import expit

    from nnunet_ms.classification.stratification.fold_models import input_of
    from nnunet_ms.classification.stratification.training import network_logits

    images = input_of(contents, cohort.load(case_id), case_id)[None]
    logits = [network_logits(network, images, np.zeros(1, np.int64), device)[0, 0] for network in networks]
    return np.asarray(expit(np.array(logits)))


def _write_settings(models: Sequence[Mapping[str, Any]], cohort: "PreparedCohort", path: Path) -> None:
    """What judged, and where the scans were prepared in another way than those of the training."""
    import json

    from nnunet_ms.outputs import whole_file

    trained, here = models[0]["preparation"], cohort.preparation()
    differing = {
        name: {"training": trained.get(name), "here": here.get(name)}
        for name in sorted({*trained, *here})
        if trained.get(name) != here.get(name)
    }
    told = {
        "step": f"{PROGRAM} predict",
        **{name: models[0][name] for name in ("strategy", "network", "small", "folds", "shape", "coarser")},
        "thresholds": [contents["threshold"] for contents in models],
        "prepared_differently": differing,
    }
    with whole_file(path) as partial:
        partial.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def add_predict_parser(to: "argparse._SubParsersAction[Any]") -> None:
    """Add `predict` to the command's sub-commands."""
    parser = to.add_parser(
        "predict",
        help="judge other scans by the frozen networks of a strategy",
        description="Judge scans by the mean of a strategy's networks; nothing is learnt or chosen on these scans.",
    )
    parser.add_argument("model", type=Path, metavar="MODELS/STRATEGY", help="that nnunet-ms-stratify train wrote")
    parser.add_argument("prepared", type=Path, metavar="PREPARED", help="that nnunet-ms-stratify prepare wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder")
    parser.add_argument(
        "--horizons",
        type=_weeks,
        metavar="WEEK,...",
        help="of survival models: weeks whose risk is written (default: every 12)",
    )
    parser.add_argument("--device", default="cpu", help="of torch, such as cuda (default: cpu)")
    parser.set_defaults(action=run_predict)


def _weeks(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected weeks like 48,96, found {text}") from None


def run_predict(args: argparse.Namespace) -> int:
    """Act on the arguments of `predict`; exit code 1 where a scan is damaged."""
    import json

    from nnunet_ms.classification.stratification.survival_predictions import is_survival_model, run_predict_survival
    from nnunet_ms.parallel import Failure
    from nnunet_ms.progress import bar
    from nnunet_ms.tables import FAILURES as FAILURES_TABLE
    from nnunet_ms.tables import read_table

    if is_survival_model(folder := strategy_folder(args.model)):
        return run_predict_survival(args, folder)
    if args.horizons is not None:
        raise OptionError("horizons: expected models of --task survival, found others. Leave it out.")
    table = predict_disability(args.model, args.prepared, args.output, device=args.device, progress=bar)
    told = json.loads((args.output / SETTINGS).read_text(encoding="utf-8"))
    print(
        f"{args.output / PREDICTIONS}: {int(table['disabled'].sum())} of {len(table)} scans judged as disabled, by the "
        f"mean of {told['folds']} networks of {told['strategy']} and the mean of their thresholds."
    )
    if len(table):
        print(f"Into a trial: {PROGRAM} risk {args.output / PREDICTIONS} --patients patients.csv -o with_risk.csv")
    without = len((args.output / LEFT_OUT).read_text(encoding="utf-8").splitlines()) - 1
    if without:
        print(f"{without} scans lack the region and are left out: {args.output / LEFT_OUT}.")
    for name, values in told["prepared_differently"].items():
        print(f"prepared differently: {name} is {values['here']}, in the training {values['training']}.")
    rows = read_table(args.output / FAILURES, FAILURES_TABLE)
    failures = [Failure(case, reason) for case, reason in zip(rows["case_id"], rows["reason"], strict=True)]
    commands.report_failures(failures, PROGRAM)
    return commands.SOME_CASES_FAILED if failures else commands.OK
