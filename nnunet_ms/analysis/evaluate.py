"""Compare a folder of predicted masks with a folder of reference masks: the recipe behind `nnunet-ms-evaluate`.

Written, besides the size-bin figure of each rule as SVG and PNG:

========================  =================================================================================
`lesions.csv`             `tables.LESIONS` for both raters, with `found` (by the other rater), `overlap_voxels`
                          (shared with any lesion of the other rater), `lesion_dice`, `rule`, `data_note`
`visits.csv`              `tables.VISITS` for both raters, with `mask_volume_ml` (dropped components included),
                          `rule`, `data_note`; `new_lesion_count` is blank: one visit alone has no new lesions
`agreement_cases.csv`     `tables.AGREEMENT_CASES`, every rule
`agreement.csv`           `tables.AGREEMENT`, every rule; for `r_vol` and `r_count` the mean is the coefficient
`size_bins.csv`           `agreement.SIZE_BINS`, every rule
`failures.csv`            `FAILURES`: cases that are in none of the above, and why
========================  =================================================================================

`lesion_count` and `volume_ml` are of the lesions that pass the first rule's size filter, so the rows of `visits.csv`
are sums of `lesions.csv`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from nnunet_ms import tables
from nnunet_ms.analysis.agreement import SIZE_BINS, case_metrics, summarise_cohort, summarise_sizes
from nnunet_ms.analysis.agreement_figures import size_bin_figure
from nnunet_ms.analysis.figure_style import save_figure
from nnunet_ms.analysis.lesions import Lesions, lesion_table
from nnunet_ms.analysis.matching import Match, Rule, lesion_dice, match_masks, rules_by_name
from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.images import check_same_grid, read_mask
from nnunet_ms.outputs import remove_leftovers, whole_folder
from nnunet_ms.parallel import Failure, map_cases
from nnunet_ms.tables import REFERENCE, Column, Table

SUFFIX = ".nii.gz"
NO_VISIT = "unknown"  # tables require a visit; without cases.csv nobody knows it

FAILURES = Table("failures", (Column("case_id"), Column("reason")), key=("case_id",))
_TABLES = {
    "lesions.csv": tables.LESIONS,
    "visits.csv": tables.VISITS,
    "agreement_cases.csv": tables.AGREEMENT_CASES,
    "agreement.csv": tables.AGREEMENT,
    "size_bins.csv": SIZE_BINS,
    "failures.csv": FAILURES,
}
_FIGURE = "size_bins_{rule}"


@dataclass(frozen=True)
class Settings:
    """What every case needs to know; `rules[0]` is the rule of `lesions.csv` and `visits.csv`."""

    rules: tuple[str, ...] = ("krishnan2023",)
    rater: str = "model"
    lesion_type: str = "t2_lesions"
    note: str = ""


@dataclass(frozen=True)
class MaskPair:
    """One case's two files and its place in the trial; `week` is NaN when unknown."""

    case_id: str
    reference: Path
    prediction: Path
    patient_id: str
    visit: str = NO_VISIT
    week: float = float("nan")


@dataclass(frozen=True)
class Pairing:
    """Cases to evaluate, cases that lack a file, and the cases in the folders that `cases.csv` does not name."""

    pairs: list[MaskPair]
    failures: list[Failure]
    left_out: list[str]


@dataclass(frozen=True)
class CaseTables:
    """One case's rows: `lesions` and `totals` once per rule (column `rule`), `metrics` per rule and metric."""

    lesions: pd.DataFrame
    totals: pd.DataFrame
    metrics: pd.DataFrame


@dataclass(frozen=True)
class Evaluation:
    """The tables of an evaluation, as written to `out`, and the cases that are not in them."""

    lesions: pd.DataFrame
    visits: pd.DataFrame
    agreement_cases: pd.DataFrame
    agreement: pd.DataFrame
    size_bins: pd.DataFrame
    failures: list[Failure]
    left_out: list[str]
    out: Path


def evaluate(
    predictions: Path,
    references: Path,
    out: Path,
    cases: Path | None = None,
    rules: Sequence[str] = ("krishnan2023",),
    rater: str = "model",
    lesion_type: str = "t2_lesions",
    workers: int = 1,
    note: str = "",
) -> Evaluation:
    """Evaluate predicted masks against reference masks and write tables and figures.

    Parameters
    ----------
    predictions, references : Path
        Folders of `<case_id>.nii.gz`, masks of 0 and 1; the two masks of a case lie on one grid.
    out : Path
        Folder to write, complete or not at all. An earlier evaluation there is replaced.
    cases : Path, optional
        `tables.CASES`: gives patient, visit and week, and restricts the evaluation to the cases that it names.
        Without it every case is its own patient, `visit` is "unknown" and `week` blank.
    rules : sequence of str, optional
        Names in `matching.RULES`. The first one's components and size filter make `lesions.csv` and `visits.csv`.
    rater : str, optional
        Name of the model in the tables; the other rater is `tables.REFERENCE`.
    lesion_type : str, optional
        Written into every table.
    workers : int, optional
        Local processes, >= 1.
    note : str, optional
        What the data are, such as "simulated"; stands in tables (`data_note`) and figures.

    Returns
    -------
    Evaluation
        Cases without partner and cases with a bad mask are in `failures` and in `failures.csv`; the others go on.

    Raises
    ------
    SettingsError
        If a folder is missing, no case has both masks, a rule is unknown, the rater's name is taken, or `out`
        holds something else.
    TableError
        If `cases` is not a cases table.
    ImageError
        If not one case could be evaluated.
    """
    settings = Settings(tuple(rules), rater.strip(), lesion_type.strip(), note.strip())
    _check_settings(settings)
    out = out.resolve()  # follows a link to a folder, so that the folder is replaced and not the link
    _check_output(out)
    pairing = pair_masks(references, predictions, cases)
    done = map_cases(
        partial(evaluate_case, settings=settings), pairing.pairs, lambda pair: pair.case_id, "evaluate", workers
    )
    failures = sorted([*pairing.failures, *done.failures], key=lambda failure: failure.case)
    if not done.results:
        listed = "; ".join(f"{failure.case}: {failure.reason}" for failure in failures[:3])
        raise ImageError(f"none of {len(failures)} cases could be evaluated. {listed}")
    evaluation = _assemble(done.results, settings, failures, pairing.left_out, out)
    _write(evaluation, settings)
    return evaluation


def pair_masks(references: Path, predictions: Path, cases: Path | None = None) -> Pairing:
    """Find the two masks of every case, by file name alone.

    Raises
    ------
    SettingsError
        If a folder is missing or no case has both masks.
    TableError
        If `cases` is not a cases table.
    """
    reference_files, prediction_files = _masks_in(references), _masks_in(predictions)
    found = sorted({*reference_files, *prediction_files})
    known = _read_cases(cases) if cases else {name: {"patient_id": name} for name in found}
    wanted = [name for name in found if name in known]
    both = [name for name in wanted if name in reference_files and name in prediction_files]
    if not both:
        raise SettingsError(
            f"expected masks <case_id>{SUFFIX} of the same cases in {references} (found {_some(reference_files)}) and "
            f"in {predictions} (found {_some(prediction_files)})"
            + (f", named in {cases}" if cases else "")
            + ", found no case with both. Check the folders and the file names."
        )
    pairs = [MaskPair(name, reference_files[name], prediction_files[name], **known[name]) for name in both]
    failures = [
        Failure(name, f"no prediction: expected {predictions / (name + SUFFIX)}. Predict this case or move its mask.")
        if name in reference_files
        else Failure(name, f"no reference: expected {references / (name + SUFFIX)}. Add it or name cases by a table.")
        for name in wanted
        if name not in both
    ]
    return Pairing(pairs, failures, [name for name in found if name not in known])


def evaluate_case(pair: MaskPair, settings: Settings) -> CaseTables:
    """Read one case's masks once and compute its rows under every rule.

    Raises
    ------
    ImageError
        If a mask cannot be read, is not a 3-D mask of 0 and 1, or the two lie on different grids.
    """
    reference, prediction = read_mask(pair.reference), read_mask(pair.prediction)
    check_same_grid(reference, prediction, str(pair.reference), str(pair.prediction))
    rules = rules_by_name(settings.rules)
    matches = [(rule, match_masks(reference, prediction, rule)) for rule in rules]
    return CaseTables(
        lesions=pd.concat([_lesion_rows(match, rule, pair, settings) for rule, match in matches]),
        totals=pd.concat([_total_rows(match, rule, pair, settings) for rule, match in matches]),
        metrics=pd.concat([_metric_rows(match, rule, pair, settings) for rule, match in matches]),
    )


def _check_settings(settings: Settings) -> None:
    rules_by_name(settings.rules)
    if settings.rater in ("", REFERENCE):
        raise SettingsError(
            f"rater: expected the model's name, found {settings.rater!r}; {REFERENCE!r} is the other rater. Rename it."
        )
    if not settings.lesion_type:
        raise SettingsError("lesion type: expected a name such as t2_lesions, found a blank. Name it.")


def _check_output(out: Path) -> None:
    nearest = next(path for path in (out, *out.parents) if path.exists())
    if not nearest.is_dir():
        raise SettingsError(f"{out}: expected a folder or nothing, {nearest} is a file. Choose another output folder.")
    foreign = sorted(path.name for path in out.iterdir() if not _is_ours(path.name)) if out.exists() else []
    if foreign:
        raise SettingsError(
            f"{out}: expected a new folder or an earlier evaluation, found {_some(foreign)}. "
            "Choose another output folder."
        )


def _is_ours(name: str) -> bool:
    figure = name.startswith(_FIGURE.format(rule="")) and name.endswith((".svg", ".png"))
    return name in _TABLES or figure or name == "uncertainty"  # what --uncertainty adds


def _masks_in(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise SettingsError(f"{folder}: expected a folder of <case_id>{SUFFIX}, found none. Check the path.")
    paths = sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))
    return {path.name.removesuffix(SUFFIX): path for path in paths}


def _read_cases(path: Path) -> dict[str, dict[str, object]]:
    frame = tables.read_table(path, tables.CASES).set_index("case_id")
    return {str(name): row for name, row in frame[["patient_id", "visit", "week"]].to_dict(orient="index").items()}


def _some(names: Sequence[str] | dict[str, Path], n: int = 3) -> str:
    listed = ", ".join(list(names)[:n])
    return f"{listed} and {len(names) - n} more" if len(names) > n else listed or "none"


def _labelled(frame: pd.DataFrame, pair: MaskPair, rater: str, rule: Rule, settings: Settings) -> pd.DataFrame:
    """Put the columns in front that say whose rows these are."""
    labels = {
        "case_id": pair.case_id,
        "patient_id": pair.patient_id,
        "visit": pair.visit,
        "week": pair.week,
        "rater": rater,
        "lesion_type": settings.lesion_type,
    }
    labelled = frame.assign(**labels, rule=rule.name, data_note=settings.note)
    return labelled[[*labels, *frame.columns, "rule", "data_note"]]


def _lesion_rows(match: Match, rule: Rule, pair: MaskPair, settings: Settings) -> pd.DataFrame:
    sides = [
        (REFERENCE, match.reference, match.overlap, match.reference_found),
        (settings.rater, match.prediction, match.overlap.swapped, match.prediction_found),
    ]
    frames = [
        _labelled(
            lesion_table(lesions).assign(
                found=found, overlap_voxels=overlap.shared_voxels, lesion_dice=lesion_dice(overlap)
            ),
            pair,
            rater,
            rule,
            settings,
        )
        for rater, lesions, overlap, found in sides
    ]
    return pd.concat(frames)


def _total_rows(match: Match, rule: Rule, pair: MaskPair, settings: Settings) -> pd.DataFrame:
    sides: list[tuple[str, Lesions]] = [(REFERENCE, match.reference), (settings.rater, match.prediction)]
    frames = [
        _labelled(
            pd.DataFrame(
                {
                    "lesion_count": [lesions.count],
                    "volume_ml": [lesions.volume_ml],
                    "new_lesion_count": pd.array([pd.NA], dtype="Int64"),
                    "mask_volume_ml": [lesions.mask_voxels * lesions.voxel_volume_ml],
                }
            ),
            pair,
            rater,
            rule,
            settings,
        )
        for rater, lesions in sides
    ]
    return pd.concat(frames)


def _metric_rows(match: Match, rule: Rule, pair: MaskPair, settings: Settings) -> pd.DataFrame:
    values = case_metrics(match, rule)
    frame = pd.DataFrame({"metric": list(values), "value": list(values.values())})
    return _labelled(frame, pair, settings.rater, rule, settings)[tables.AGREEMENT_CASES.names]


def _assemble(
    cases: list[CaseTables], settings: Settings, failures: list[Failure], left_out: list[str], out: Path
) -> Evaluation:
    lesions = pd.concat([case.lesions for case in cases], ignore_index=True)
    totals = pd.concat([case.totals for case in cases], ignore_index=True)
    metrics = pd.concat([case.metrics for case in cases], ignore_index=True)
    cohort, sizes = [], []
    for rule in rules_by_name(settings.rules):
        lesions_here, totals_here = lesions[lesions["rule"] == rule.name], totals[totals["rule"] == rule.name]
        labels = {"rater": settings.rater, "lesion_type": settings.lesion_type, "rule": rule.name}
        cohort.append(summarise_cohort(metrics[metrics["rule"] == rule.name], totals_here, rule).assign(**labels))
        counts = {f"n_{name}s": totals_here[f"{name}_id"].nunique() for name in ("case", "patient")}
        sizes.append(
            summarise_sizes(lesions_here, rule).assign(**labels, **counts, data_note=settings.note)[SIZE_BINS.names]
        )
    first = settings.rules[0]
    return Evaluation(
        lesions=lesions[lesions["rule"] == first].reset_index(drop=True),
        visits=totals[totals["rule"] == first].reset_index(drop=True),
        agreement_cases=metrics,
        agreement=pd.concat(cohort, ignore_index=True)[tables.AGREEMENT.names],
        size_bins=pd.concat(sizes, ignore_index=True),
        failures=failures,
        left_out=left_out,
        out=out,
    )


def _write(evaluation: Evaluation, settings: Settings) -> None:
    """Draw and write everything into a folder beside the target, which then takes the target's place."""
    failures = pd.DataFrame([(f.case, f.reason) for f in evaluation.failures], columns=FAILURES.names)
    frames = {name: getattr(evaluation, name.removesuffix(".csv"), None) for name in _TABLES}
    remove_leftovers(evaluation.out)
    with whole_folder(evaluation.out, replace=True) as folder:
        for name, frame in {**frames, "failures.csv": failures}.items():
            tables.write_table(frame, folder / name)
        for rule in rules_by_name(settings.rules):
            rows = evaluation.size_bins[evaluation.size_bins["rule"] == rule.name]
            save_figure(size_bin_figure(rows, rule), folder, _FIGURE.format(rule=rule.name))
