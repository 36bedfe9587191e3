"""Compare folders of predicted masks with a folder of reference masks: the recipe behind `nnunet-ms-evaluate`.

Written, besides figures (SVG and PNG) of detection by size per rule and of the concordance of volumes and counts:

========================  =================================================================================
`lesions.csv`             `tables.LESIONS` for every rater, with the bounding box (`x_first` to `z_last`, voxel
                          indices), `found` (by the other rater), `overlap_voxels` (shared with any lesion of the
                          other rater), `lesion_dice`, `distance_mm` (to the other rater's nearest lesion, between
                          voxel centres), means of maps, `location`, `rule`, `data_note`
`visits.csv`              `tables.VISITS` for every rater, with `mask_volume_ml` (dropped components included),
                          `rule`, `data_note`, and the change since the visit before: counts and volumes by
                          `lesion_change`, `previous_visit`, `previous_week`; blank where there is no such visit,
                          or where `change_note` says why they could not be compared
`lesion_changes.csv`      one row per lesion of two compared visits and what became of it
`agreement_cases.csv`     `tables.AGREEMENT_CASES`, every rule
`agreement.csv`           `tables.AGREEMENT`, every rule, with `se` and the bootstrap interval over patients (`low`,
                          `high`); for `r_vol`, `r_count` and `isbi15_raw` the mean is the cohort's value. `subset`
                          says of which cases: under `msseg2016` and `msseg2_2021` those with and those without a
                          reference lesion are never pooled
`concordance.csv`         `concordance_table.CONCORDANCE`, every rule
`size_bins.csv`           `cohort_metrics.SIZE_BINS`, every rule
`comparison.csv`          `model_comparison.COMPARISON`, with several models only
`ranking.csv`             `model_comparison.RANKING`, with several models only
`qc.html`, `qc/`          pictures of the worst cases, on request
`failures.csv`            `FAILURES`: cases that are in none of the above, and why
========================  =================================================================================

`lesion_count` and `volume_ml` are of the lesions that pass the first rule's size filter, so the rows of `visits.csv`
are sums of `lesions.csv`. The change between visits has its own rule and size filter (`change.ChangeRule`).
With several models a reference lesion's `found`, `overlap_voxels`, `lesion_dice` and `distance_mm` are those of the
first model, and `found_by_<model>` says it of every model.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from nnunet_ms import tables
from nnunet_ms.analysis.concordance_table import CONCORDANCE, QUANTITIES, concordance_rows
from nnunet_ms.analysis.evaluation.case_masks import Extras
from nnunet_ms.analysis.evaluation.cohort_metrics import SIZE_BINS, summarise_cohort, summarise_sizes
from nnunet_ms.analysis.evaluation.model_comparison import COMPARISON, RANKING, compare_models, rank_models
from nnunet_ms.analysis.evaluation.pairing import CaseFiles, Pairing, by_patient, pair_masks, some
from nnunet_ms.analysis.evaluation.patient_rows import Block, PatientSummary, Settings, stack, summarise_patient
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.analysis.evaluation.size_bin_figure import size_bin_figure
from nnunet_ms.analysis.evaluation.table_pieces import Piece, join_pieces
from nnunet_ms.analysis.evaluation.worst_cases import QC_FOLDER, QC_PAGE, write_qc
from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.lesions.change import CHANGE_COUNTS, CHANGE_VOLUMES
from nnunet_ms.lesions.features import REGIONS
from nnunet_ms.outputs import whole_folder
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.plotting.concordance import Labels, concordance_figure
from nnunet_ms.plotting.style import save_figure
from nnunet_ms.tables import REFERENCE, Column, Table

FAILURES = Table("failures", (Column("case_id"), Column("reason")), key=("case_id",))
CHANGES = Table(
    "lesion changes",
    (
        *(Column(name) for name in ("case_id", "patient_id", "visit")),
        Column("week", "number"),
        Column("rater"),
        Column("lesion_type"),
        Column("previous_visit"),
        Column("previous_week", "number"),
        *(Column(name) for name in ("mask", "change")),
        *(Column(name, "integer", minimum=0) for name in ("voxels", "voxels_old", "voxels_only_here")),
        *(Column(name, "number", minimum=0) for name in ("volume_ml", "changed_ml")),
        Column("data_note", blank=True),
    ),
    key=(),
)
_TABLES = {
    "lesions.csv": tables.LESIONS,
    "visits.csv": tables.VISITS,
    "lesion_changes.csv": CHANGES,
    "agreement_cases.csv": tables.AGREEMENT_CASES,
    "agreement.csv": tables.AGREEMENT,
    "concordance.csv": CONCORDANCE,
    "size_bins.csv": SIZE_BINS,
    "failures.csv": FAILURES,
}
_COMPARISONS = {"comparison.csv": COMPARISON, "ranking.csv": RANKING}
ADDED_FOLDERS = ("uncertainty", "lesion_auc")  # what --uncertainty and --lesion-auc add to an evaluation
_FIGURES = ("size_bins_", "concordance_")
_VISIT_EXTRAS = ["mask_volume_ml", *CHANGE_COUNTS[1:], *CHANGE_VOLUMES, "previous_visit", "previous_week"]
_VISIT_COLUMNS = [*tables.VISITS.names, *_VISIT_EXTRAS, "change_note", "rule", "data_note"]
_LESION_COLUMNS = [name for name in tables.LESIONS.names if name != "uncertainty"]
_LONG_COLUMNS = {"lesions": _LESION_COLUMNS, "changes": CHANGES.names}  # first columns of the tables kept on disk
_SCRATCH = ".pieces"
_RULES_BY_SUBSET = ("msseg2016", "msseg2_2021")


@dataclass(frozen=True)
class Evaluation:
    """The tables of an evaluation, as written to `out`, and the cases that are not in them; lesions stay on disk.

    `comparison` and `ranking` are empty with one model.
    """

    visits: pd.DataFrame
    agreement_cases: pd.DataFrame
    agreement: pd.DataFrame
    concordance: pd.DataFrame
    size_bins: pd.DataFrame
    comparison: pd.DataFrame
    ranking: pd.DataFrame
    failures: list[Failure]
    left_out: list[str]
    out: Path

    @property
    def lesions(self) -> pd.DataFrame:
        """`lesions.csv`, read from `out`: it may hold millions of rows."""
        return tables.read_table(self.out / "lesions.csv", tables.LESIONS)


def evaluate(
    predictions: Path | Mapping[str, Path],
    references: Path,
    out: Path,
    cases: Path | None = None,
    rules: Sequence[str] = ("krishnan2023",),
    rater: str = "model",
    lesion_type: str = "t2_lesions",
    workers: Workers = 1,
    note: str = "",
    labels: Mapping[str, int] | None = None,
    extras: Extras | None = None,
    qc: int = 0,
    images: Path | None = None,
) -> Evaluation:
    """Evaluate predicted masks against reference masks and write tables and figures.

    Parameters
    ----------
    predictions : Path or mapping
        Folder of `<case_id>.nii.gz`, or several: model's name -> folder. Models are compared on the cases that all of
        them have predicted.
    references : Path
        Folder of `<case_id>.nii.gz`; all masks of a case lie on one grid, in any order and direction of its axes.
    out : Path
        Folder to write, complete or not at all. An earlier evaluation there is replaced.
    cases : Path, optional
        `tables.CASES`: gives patient, visit and week, and restricts the evaluation to the cases that it names.
        Without it every case is its own patient, `visit` is "unknown" and `week` blank.
    rules : sequence of str, optional
        Names in `rules.RULES`. The first one's components and size filter make `lesions.csv` and `visits.csv`.
    rater : str, optional
        Name of the model when `predictions` is one folder; the other rater is `tables.REFERENCE`.
    lesion_type : str, optional
        Written into every table; label 1 of the masks, unless `labels` is given.
    workers : int or Dask, optional
        Local processes, >= 1, or a cluster, whose workers must see the masks and `out` under the same paths.
    note : str, optional
        What the data are, such as "simulated"; stands in tables (`data_note`) and figures.
    labels : mapping, optional
        Lesion type -> label, for masks that hold several types; `lesion_type` then has no meaning.
    extras : Extras, optional
        Folders of maps, region masks and brain masks.
    qc : int, optional
        Number of worst cases to draw, 0 for none.
    images : Path, optional
        Folder of `<case_id>_0000.nii.gz` or `<case_id>.nii.gz` to draw them on.

    Returns
    -------
    Evaluation
        Cases without partner and cases with a bad mask are in `failures` and in `failures.csv`; the others go on.

    Raises
    ------
    SettingsError
        If a folder is missing, no case has all masks, a rule is unknown, a name is taken, or `out` holds something
        else.
    TableError
        If `cases` is not a cases table.
    ImageError
        If not one case could be evaluated.
    """
    folders = {rater: predictions} if isinstance(predictions, Path) else dict(predictions)
    folders = {name.strip(): folder for name, folder in folders.items()}
    types = {name.strip(): label for name, label in (labels or {lesion_type: 1}).items()}
    settings = Settings(tuple(rules), tuple(folders), types, note.strip(), extras or Extras())
    _check_settings(settings, images)
    out = out.resolve()  # follows a link to a folder, so that the folder is replaced and not the link
    _check_output(out)
    pairing = pair_masks(references, folders, cases)
    patients = by_patient(pairing.pairs)
    with whole_folder(out, replace=True) as folder:
        evaluation, pieces = _evaluate_patients(pairing, patients, settings, workers, folder)
        evaluation = replace(evaluation, out=out)
        _write(evaluation, pieces, settings, _Pictures(pairing.pairs, qc, images, workers), folder)
    return evaluation


def _evaluate_patients(
    pairing: Pairing, patients: list[list[CaseFiles]], settings: Settings, workers: Workers, folder: Path
) -> tuple[Evaluation, "_Long"]:
    scratch = folder / _SCRATCH
    scratch.mkdir()
    summarise = partial(summarise_patient, settings=settings, columns=_LONG_COLUMNS, folder=scratch)
    done = map_cases(summarise, patients, lambda visits: visits[0].patient_id, "evaluate", workers)
    bad = [failure for rows in done.results for failure in rows.failures]
    failures = sorted([*pairing.failures, *done.failures, *bad], key=lambda failure: failure.case)
    if not any(rows.totals for rows in done.results):
        listed = "; ".join(f"{failure.case}: {failure.reason}" for failure in failures[:3])
        raise ImageError(f"none of {len(failures)} cases could be evaluated. {listed}")
    return _assemble(done.results, settings, failures, pairing.left_out, folder), _long_tables(done.results)


@dataclass(frozen=True)
class _Long:
    """The tables that lie on disk in pieces: columns and pieces of each, in the order of the rows."""

    columns: dict[str, list[str]]
    pieces: dict[str, list[Piece]]


def _long_tables(patients: list[PatientSummary]) -> _Long:
    pieces = {table: [piece for rows in patients for piece in rows.pieces[table]] for table in _LONG_COLUMNS}
    pieces["lesions"].sort(key=lambda piece: piece.case_id)
    columns = {
        table: next((rows.columns[table] for rows in patients if rows.columns[table]), names)
        for table, names in _LONG_COLUMNS.items()
    }
    return _Long(columns, pieces)


@dataclass(frozen=True)
class _Pictures:
    """Files of the cases, how many of the worst to draw, and on what."""

    cases: list[CaseFiles]
    count: int
    images: Path | None
    workers: Workers


def _check_settings(settings: Settings, images: Path | None) -> None:
    rules_by_name(settings.rules)
    if len({name.lower() for name in settings.raters}) < len(settings.raters) or not settings.raters:
        raise SettingsError(f"raters: expected different names, found {list(settings.raters)}. Rename one.")
    for name in settings.raters:
        if name in ("", REFERENCE):
            raise SettingsError(
                f"rater: expected the model's name, found {name!r}; {REFERENCE!r} is the other rater. Rename it."
            )
    if not settings.labels or "" in settings.labels:
        raise SettingsError("lesion type: expected a name such as t2_lesions, found a blank. Name it.")
    values = list(settings.labels.values())
    if len(set(values)) < len(values) or not all(0 < value < 256 for value in values):
        raise SettingsError(f"labels: expected different whole numbers 1 to 255, found {values}. Correct them.")
    strange = sorted(set(settings.extras.regions) - set(REGIONS))
    if strange:
        raise SettingsError(f"regions: expected some of {list(REGIONS)}, found {strange}. Rename them.")
    brain = [settings.extras.brain] if settings.extras.brain else []
    backgrounds = [images] if images else []
    for folder in (*settings.extras.maps.values(), *settings.extras.regions.values(), *brain, *backgrounds):
        if not folder.is_dir():
            raise SettingsError(f"{folder}: expected a folder of images, found none. Check the path.")


def _check_output(out: Path) -> None:
    nearest = next(path for path in (out, *out.parents) if path.exists())
    if not nearest.is_dir():
        raise SettingsError(f"{out}: expected a folder or nothing, {nearest} is a file. Choose another output folder.")
    foreign = sorted(path.name for path in out.iterdir() if not _is_ours(path.name)) if out.exists() else []
    if foreign:
        raise SettingsError(
            f"{out}: expected a new folder or an earlier evaluation, found {some(foreign)}. "
            "Choose another output folder."
        )


def _is_ours(name: str) -> bool:
    figure = name.startswith(_FIGURES) and name.endswith((".svg", ".png"))
    return name in _TABLES or name in _COMPARISONS or name in (QC_PAGE, QC_FOLDER, *ADDED_FOLDERS) or figure


def _assemble(
    patients: list[PatientSummary], settings: Settings, failures: list[Failure], left_out: list[str], out: Path
) -> Evaluation:
    stacked = {
        name: stack([block for rows in patients for block in getattr(rows, name)], order)
        for name, order in {"totals": _VISIT_COLUMNS, "metrics": tables.AGREEMENT_CASES.names}.items()
    }
    sizes = [block for rows in patients for block in rows.sizes]
    for name in ("totals", "metrics"):
        stacked[name] = stacked[name].sort_values("case_id", kind="stable", ignore_index=True)
    totals, metrics = _with_all_columns(stacked["totals"]), stacked["metrics"]
    several = len(settings.raters) > 1
    return Evaluation(
        visits=totals[totals["rule"] == settings.rules[0]].reset_index(drop=True),
        agreement_cases=metrics,
        agreement=_agreement(metrics, totals, settings),
        concordance=_concordance(totals, settings),
        size_bins=_size_bins(sizes, totals, settings),
        comparison=compare_models(metrics) if several else pd.DataFrame(columns=COMPARISON.names),
        ranking=rank_models(metrics) if several else pd.DataFrame(columns=RANKING.names),
        failures=failures,
        left_out=left_out,
        out=out,
    )


def _with_all_columns(totals: pd.DataFrame) -> pd.DataFrame:
    """Visits with the columns of change, blank where no visit has them."""
    return totals.reindex(columns=_VISIT_COLUMNS).astype(dict.fromkeys(CHANGE_COUNTS, "Int64"))


def _groups(settings: Settings) -> list[tuple[str, dict[str, str]]]:
    """Every rule, model and lesion type, in the order of the printed tables: the model, and the labels of its rows."""
    return [
        (rater, {"rater": rater, "lesion_type": lesion_type, "rule": rule})
        for rule in settings.rules
        for lesion_type in settings.labels
        for rater in settings.raters
    ]


def _agreement(metrics: pd.DataFrame, totals: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    frames = []
    for rater, labels in _groups(settings):
        rule = rules_by_name((labels["rule"],))[0]
        here = _select(metrics, labels)
        both = _select(totals, {**labels, "rater": [REFERENCE, rater]})
        frames.append(summarise_cohort(here, both, rule).assign(**labels, subset=""))
    table = pd.concat(frames, ignore_index=True)
    by_subset = table["rule"].isin(_RULES_BY_SUBSET)
    without = table["metric"].str.startswith("tested_")
    table["subset"] = "all cases"
    table.loc[by_subset & ~without, "subset"] = "cases with reference lesions"
    table.loc[by_subset & without, "subset"] = "cases without reference lesions"
    return table[[*tables.AGREEMENT.names, "se", "low", "high", "subset"]]


def _concordance(totals: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    frames = [
        concordance_rows(_paired(totals, rater, labels, quantity), quantity).assign(**labels, data_note=settings.note)
        for rater, labels in _groups(settings)
        for quantity in QUANTITIES
    ]
    return pd.concat(frames, ignore_index=True)[CONCORDANCE.names]


def _paired(totals: pd.DataFrame, rater: str, labels: Mapping[str, str], quantity: str) -> pd.DataFrame:
    """One row per case: `patient_id`, `reference`, `prediction`."""
    keys = ["case_id", "patient_id", quantity]
    reference, prediction = (_select(totals, {**labels, "rater": name})[keys] for name in (REFERENCE, rater))
    both = reference.merge(prediction, on=["case_id", "patient_id"], suffixes=("_reference", "_prediction"))
    return both.rename(columns={f"{quantity}_reference": "reference", f"{quantity}_prediction": "prediction"})


def _size_bins(sizes: list[Block], totals: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    frames = []
    for rater, labels in _groups(settings):
        wanted = {"model": rater, "lesion_type": labels["lesion_type"], "rule": labels["rule"]}
        here = stack([block for block in sizes if all(block[name] == value for name, value in wanted.items())], [])
        cases = _select(totals, {**labels, "rater": REFERENCE})
        counts = {f"n_{name}s": cases[f"{name}_id"].nunique() for name in ("case", "patient")}
        rows = summarise_sizes(here, rules_by_name((labels["rule"],))[0])
        frames.append(rows.assign(**labels, **counts, data_note=settings.note)[SIZE_BINS.names])
    return pd.concat(frames, ignore_index=True)


def _select(frame: pd.DataFrame, labels: Mapping[str, str | list[str]]) -> pd.DataFrame:
    kept = pd.Series(data=True, index=frame.index)
    for name, value in labels.items():
        kept &= frame[name].isin([value] if isinstance(value, str) else value)
    return frame[kept]


def _write(evaluation: Evaluation, long: _Long, settings: Settings, pictures: _Pictures, folder: Path) -> None:
    """Draw and write everything into a folder beside the target, which then takes the target's place."""
    for table, name in {"lesions": "lesions.csv", "changes": "lesion_changes.csv"}.items():
        join_pieces(long.columns[table], long.pieces[table], folder / name)
    shutil.rmtree(folder / _SCRATCH)
    failures = pd.DataFrame([(f.case, f.reason) for f in evaluation.failures], columns=FAILURES.names)
    names = [*_TABLES, *(_COMPARISONS if len(settings.raters) > 1 else [])]
    elsewhere = ("lesions.csv", "lesion_changes.csv", "failures.csv")
    frames = {name: getattr(evaluation, name.removesuffix(".csv")) for name in names if name not in elsewhere}
    for name, frame in {**frames, "failures.csv": failures}.items():
        tables.write_table(frame, folder / name)
    _draw(evaluation, settings, folder)
    if pictures.count:
        write_qc(
            folder,
            evaluation.agreement_cases,
            pictures.cases,
            settings,
            count=pictures.count,
            images=pictures.images,
            workers=pictures.workers,
        )


def _draw(evaluation: Evaluation, settings: Settings, folder: Path) -> None:
    several = len(settings.raters) * len(settings.labels) > 1
    for rater, labels in _groups(settings):
        place = f"_{labels['lesion_type']}_{rater}".replace("/", "_") if several else ""
        rule = rules_by_name((labels["rule"],))[0]
        rows = _select(evaluation.size_bins, labels)
        save_figure(size_bin_figure(rows, rule), folder, f"size_bins_{rule.name}{place}")
        if rule.name != settings.rules[0]:
            continue
        for quantity, unit in {"volume_ml": "ml", "lesion_count": ""}.items():
            pairs = _paired(evaluation.visits, rater, labels, quantity)
            kind = "volume" if unit else "count"
            footer = (
                f"Rule {rule.name}: {rule.description}. One point per case ({pairs['patient_id'].nunique()} patients)."
            )
            title = Labels(f"{labels['lesion_type']}, lesion {kind}", unit, rater, data=settings.note, footer=footer)
            figure = concordance_figure(pairs["reference"], pairs["prediction"], title)
            save_figure(figure, folder, f"concordance_{quantity}{place}")
