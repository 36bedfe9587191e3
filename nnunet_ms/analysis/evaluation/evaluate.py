"""Compare folders of predicted masks with a folder of reference masks: the recipe behind `nnunet-ms-evaluate`.

Written, besides figures (SVG and PNG) of detection by size per rule and of the concordance of volumes and counts:

===========================  ===================================================================================
`lesions.csv`                `tables.LESIONS` for every rater, with the bounding box (`x_first` to `z_last`, voxel
                             indices), `found` (by the other rater), `overlap_voxels` (shared with any lesion of the
                             other rater), `lesion_dice`, `distance_mm` (to the other rater's nearest lesion, between
                             voxel centres), means of maps, `location`, `rule`, `data_note`
`visits.csv`                 `tables.VISITS` for every rater, with `mask_volume_ml` (dropped components included),
                             `rule`, `data_note`, and the change since the visit before: counts and volumes by
                             `lesion_change`, `previous_visit`, `previous_week`; blank where there is no such visit,
                             or where `change_note` says why they could not be compared
`lesion_changes.csv`         one row per lesion of two compared visits and what became of it
`agreement_cases.csv`        `tables.AGREEMENT_CASES`, every rule
`agreement.csv`              `tables.AGREEMENT`, every rule, with `se` and the bootstrap interval over patients (`low`,
                             `high`); for `r_vol`, `r_count` and `isbi15_raw` the mean is the cohort's value. `subset`
                             says of which cases: under `msseg2016` and `msseg2_2021` those with and those without a
                             reference lesion are never pooled
`concordance.csv`            `concordance_table.CONCORDANCE`, every rule
`size_bins.csv`              `cohort_metrics.SIZE_BINS`, every rule
`size_groups.csv`            `size_groups.SIZE_GROUPS`, every rule: lesion Dice, LTPR and LFPR, over patients and pooled
`agreement_by_visit.csv`     `agreement_by_visit.BY_VISIT`, every rule; no rows where no visit is known
`agreement_by_site.csv`      `agreement_by_site.BY_SITE`, every rule; no rows where no site is known
`agreement_by_location.csv`  `agreement_by_location.BY_LOCATION`, the first rule; with regions only
`comparison.csv`             `model_comparison.COMPARISON`, with several models only
`ranking.csv`                `model_comparison.RANKING`, with several models only
`qc.html`, `qc/`             pictures of the worst cases, on request
`failures.csv`               `tables.FAILURES`: cases that are in none of the above, and why
===========================  ===================================================================================

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
from typing import Any

import pandas as pd

from nnunet_ms import tables
from nnunet_ms.analysis.concordance_table import CONCORDANCE
from nnunet_ms.analysis.evaluation.agreement_by_location import BY_LOCATION
from nnunet_ms.analysis.evaluation.agreement_by_site import BY_SITE, read_sites
from nnunet_ms.analysis.evaluation.agreement_by_visit import BY_VISIT, has_change
from nnunet_ms.analysis.evaluation.asked import (
    Further,
    Place,
    Places,
    check_output,
    check_settings,
    folders_by_model,
    path,
    paths,
    probabilities_by_model,
    region_names_of,
)
from nnunet_ms.analysis.evaluation.case_masks import Extras
from nnunet_ms.analysis.evaluation.cohort_metrics import SIZE_BINS
from nnunet_ms.analysis.evaluation.cohort_tables import Grouping, cohort_tables, groups, paired, select
from nnunet_ms.analysis.evaluation.group_figures import location_figure, site_figure, size_group_figure, visit_figure
from nnunet_ms.analysis.evaluation.lesion_roc import LesionAuc, write_lesion_auc
from nnunet_ms.analysis.evaluation.model_comparison import COMPARISON, RANKING
from nnunet_ms.analysis.evaluation.pairing import CaseFiles, Pairing, by_patient, pair_masks
from nnunet_ms.analysis.evaluation.patient_rows import PatientSummary, Settings, summarise_patient
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.analysis.evaluation.size_bin_figure import size_bin_figure
from nnunet_ms.analysis.evaluation.size_groups import SIZE_GROUPS
from nnunet_ms.analysis.evaluation.table_pieces import Piece, join_pieces
from nnunet_ms.analysis.evaluation.uncertainty import write_uncertainty
from nnunet_ms.analysis.evaluation.uncertainty_tables import UncertaintyEvaluation
from nnunet_ms.analysis.evaluation.worst_cases import QC_FOLDER, QC_PAGE, write_qc
from nnunet_ms.errors import ImageError
from nnunet_ms.lesions.visits import CHANGES as CHANGES  # part of the tables written here
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import whole_folder
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.plotting.concordance import Labels, concordance_figure
from nnunet_ms.plotting.style import save_figure
from nnunet_ms.threads import one_thread

_TABLES = {
    "lesions.csv": tables.LESIONS,
    "visits.csv": tables.VISITS,
    "lesion_changes.csv": CHANGES,
    "agreement_cases.csv": tables.AGREEMENT_CASES,
    "agreement.csv": tables.AGREEMENT,
    "concordance.csv": CONCORDANCE,
    "size_bins.csv": SIZE_BINS,
    "size_groups.csv": SIZE_GROUPS,
    "agreement_by_visit.csv": BY_VISIT,
    "agreement_by_site.csv": BY_SITE,
    "failures.csv": tables.FAILURES,
}
_COMPARISONS = {"comparison.csv": COMPARISON, "ranking.csv": RANKING}
_PLACES = {"agreement_by_location.csv": BY_LOCATION}
ADDED_FOLDERS = ("uncertainty", "lesion_auc")  # what these two arguments add to an evaluation
_FIGURES = (
    "size_bins_",
    "size_groups_",
    "agreement_by_visit_",
    "agreement_by_site_",
    "agreement_by_location_",
    "concordance_",
)
_LESION_COLUMNS = [name for name in tables.LESIONS.names if name != "uncertainty"]
_LONG_COLUMNS = {"lesions": _LESION_COLUMNS, "changes": CHANGES.names}  # first columns of the tables kept on disk
_SCRATCH = ".pieces"


@dataclass(frozen=True)
class Evaluation:
    """The tables of an evaluation, as written to `out`, and the cases that are not in them; lesions stay on disk.

    `comparison` and `ranking` are empty with one model, `agreement_by_...` where nothing is known of visits, sites or
    regions; `uncertainty` and `lesion_auc` are None unless asked for.
    """

    visits: pd.DataFrame
    agreement_cases: pd.DataFrame
    agreement: pd.DataFrame
    concordance: pd.DataFrame
    size_bins: pd.DataFrame
    size_groups: pd.DataFrame
    agreement_by_visit: pd.DataFrame
    agreement_by_site: pd.DataFrame
    agreement_by_location: pd.DataFrame
    comparison: pd.DataFrame
    ranking: pd.DataFrame
    failures: list[Failure]
    left_out: list[str]
    out: Path
    uncertainty: UncertaintyEvaluation | None = None
    lesion_auc: LesionAuc | None = None

    @property
    def lesions(self) -> pd.DataFrame:
        """`lesions.csv`, read from `out`: it may hold millions of rows."""
        return tables.read_table(self.out / "lesions.csv", tables.LESIONS)


@one_thread
@known_keywords
def evaluate(
    predictions: Place | Places,
    references: Place,
    out: Place,
    cases: Place | None = None,
    rules: str | Sequence[str] = "krishnan2023",
    rater: str | None = None,
    lesion_type: str = "t2_lesions",
    workers: Workers = 1,
    note: str = "",
    labels: Mapping[str, int] | None = None,
    *,
    maps: Places | None = None,
    regions: Places | None = None,
    region_labels: Place | None = None,
    region_names: Place | Mapping[int, str] | None = None,
    site_column: str | None = None,
    baseline_visit: str | None = None,
    brain_masks: Place | None = None,
    uncertainty: Place | None = None,
    lesion_auc: Place | Places | None = None,
    candidate_threshold: float | None = None,
    qc: int = 0,
    images: Place | None = None,
) -> Evaluation:
    """Evaluate predicted masks against reference masks and write tables and figures.

    Parameters
    ----------
    predictions : path or mapping
        Folder of `<case_id>.nii.gz`, or several: model's name -> folder. Models are compared on the cases that all of
        them have predicted.
    references : path
        Folder of `<case_id>.nii.gz`; all masks of a case lie on one grid, in any order and direction of its axes.
    out : path
        Folder to write, complete or not at all. An earlier evaluation there is replaced.
    cases : path, optional
        `tables.CASES`: gives patient, visit and week, and restricts the evaluation to the cases that it names.
        Without it every case is its own patient, `visit` is "unknown" and `week` blank.
    rules : str or sequence of str, optional
        Names in `rules.RULES`. The first one's components and size filter make `lesions.csv` and `visits.csv`.
    rater : str, optional
        Name of the model when `predictions` is one folder ("model"); the other rater is `tables.REFERENCE`.
    lesion_type : str, optional
        Written into every table; label 1 of the masks, unless `labels` is given.
    workers : int or Dask, optional
        Local processes, >= 1, or a cluster, whose workers must see the masks and `out` under the same paths.
    note : str, optional
        What the data are, such as "simulated"; stands in tables (`data_note`) and figures.
    labels : mapping, optional
        Lesion type -> label, for masks that hold several types; `lesion_type` then has no meaning.
    maps : mapping, optional
        Column of `lesions.csv` -> folder of maps, whose mean in each lesion it holds.
    regions : mapping, optional
        One of `features.REGIONS` -> folder of masks, which give each lesion a location.
    region_labels, region_names : path, optional
        Folder of maps of labelled regions, and the table of what their labels are called (`tables.REGION_NAMES`, or a
        mapping of labels to names): both give each lesion the region that holds most of it.
    site_column : str, optional
        Column of `cases` that holds the scanner site, instead of `site`.
    baseline_visit : str, optional
        The visit that the others are compared with, instead of the one with the earliest week.
    brain_masks : path, optional
        Folder of brain masks: the voxels that nDSC (rule shifts2022) counts.
    uncertainty : path, optional
        Output of `predict`: whether its uncertainty is any use, see `uncertainty.write_uncertainty`.
    lesion_auc : path or mapping, optional
        Folder of probability maps, one for each of `predictions`: ROC curves of lesions, see `lesion_roc`.
    candidate_threshold : float, optional
        In (0, 1): the candidates of `lesion_auc` are components of voxels above it instead of the masks'.
    qc : int, optional
        Number of worst cases to draw, 0 for none.
    images : path, optional
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

    Examples
    --------
    >>> evaluation = evaluate("predictions", "references", "evaluation", rules=["krishnan2023", "msseg2016"])
    >>> evaluation.agreement.query("rule == 'krishnan2023' and metric in ['ltpr', 'lfpr']")["mean"].round(2).tolist()
    [0.67, 0.33]
    >>> evaluation.visits[["rater", "lesion_count"]].values.tolist()
    [['reference', 3], ['model', 3]]
    """
    folders = folders_by_model(predictions, rater)
    further = Further(
        path(uncertainty),
        rater or "model",
        lesion_type,
        probabilities_by_model(lesion_auc, list(folders)),
        candidate_threshold,
    )
    settings = Settings(
        rules=(rules,) if isinstance(rules, str) else tuple(rules),
        raters=tuple(folders),
        labels={name.strip(): label for name, label in (labels or {lesion_type: 1}).items()},
        note=note.strip(),
        extras=Extras(
            paths(maps),
            paths(regions),
            path(brain_masks),
            path(region_labels),
            region_names_of(region_labels, region_names),
        ),
    )
    check_settings(settings, further, path(images), qc)
    target = Path(out).resolve()  # follows a link to a folder, so that the folder is replaced and not the link
    check_output(target, _is_ours)
    pairing = pair_masks(Path(references), folders, path(cases))
    grouping = Grouping(read_sites(path(cases), site_column), baseline_visit)
    with whole_folder(target, replace=True) as folder:
        evaluation, pieces = _evaluate_patients(pairing, settings, grouping, workers, folder)
        _write(evaluation, pieces, settings, _Pictures(pairing.pairs, qc, path(images), workers), folder)
        added = _evaluate_further(further, folders, Path(references), path(cases), settings, workers, folder)
    return replace(evaluation, out=target, **added)


def _evaluate_patients(
    pairing: Pairing, settings: Settings, grouping: Grouping, workers: Workers, folder: Path
) -> tuple[Evaluation, "_Long"]:
    patients = by_patient(pairing.pairs)
    scratch = folder / _SCRATCH
    scratch.mkdir()
    summarise = partial(summarise_patient, settings=settings, columns=_LONG_COLUMNS, folder=scratch)
    done = map_cases(summarise, patients, lambda visits: visits[0].patient_id, "evaluate", workers)
    bad = [failure for rows in done.results for failure in rows.failures]
    failures = sorted([*pairing.failures, *done.failures, *bad], key=lambda failure: failure.case)
    if not any(rows.totals for rows in done.results):
        listed = "; ".join(f"{failure.case}: {failure.reason}" for failure in failures[:3])
        raise ImageError(f"none of {len(failures)} cases could be evaluated. {listed}")
    found = cohort_tables(done.results, settings, grouping)
    return Evaluation(**found, failures=failures, left_out=pairing.left_out, out=folder), _long_tables(done.results)


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


def _evaluate_further(
    further: Further,
    folders: Mapping[str, Path],
    references: Path,
    cases: Path | None,
    settings: Settings,
    workers: Workers,
    folder: Path,
) -> dict[str, Any]:
    """Evaluate uncertainty and probabilities, where asked for, into folders of their own below `folder`."""
    added: dict[str, Any] = {}
    rule, note = settings.rules[0], settings.note
    if further.uncertainty is not None:
        names = further.rater, further.lesion_type
        added["uncertainty"] = write_uncertainty(
            further.uncertainty, references, folder / "uncertainty", rule, *names, workers, note
        )
    if further.probabilities:
        added["lesion_auc"] = write_lesion_auc(
            folders,
            further.probabilities,
            references,
            folder / "lesion_auc",
            settings.labels,
            cases,
            rule,
            workers,
            note,
            further.candidate_threshold,
        )
    return added


def _is_ours(name: str) -> bool:
    figure = name.startswith(_FIGURES) and name.endswith((".svg", ".png"))
    return name in {**_TABLES, **_COMPARISONS, **_PLACES} or name in (QC_PAGE, QC_FOLDER, *ADDED_FOLDERS) or figure


def _write(evaluation: Evaluation, long: _Long, settings: Settings, pictures: _Pictures, folder: Path) -> None:
    """Draw and write everything into a folder beside the target, which then takes the target's place."""
    for table, name in {"lesions": "lesions.csv", "changes": "lesion_changes.csv"}.items():
        join_pieces(long.columns[table], long.pieces[table], folder / name)
    shutil.rmtree(folder / _SCRATCH)
    names = [
        *_TABLES,
        *(_COMPARISONS if len(settings.raters) > 1 else []),
        *(_PLACES if settings.extras.places else []),
    ]
    elsewhere = ("lesions.csv", "lesion_changes.csv", "failures.csv")
    frames = {name: getattr(evaluation, name.removesuffix(".csv")) for name in names if name not in elsewhere}
    for name, frame in frames.items():
        tables.write_table(frame, folder / name)
    tables.write_failures(evaluation.failures, folder / "failures.csv")
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
    for rater, labels in groups(settings):
        place = f"_{labels['lesion_type']}_{rater}".replace("/", "_") if several else ""
        rule = rules_by_name((labels["rule"],))[0]
        rows = select(evaluation.size_bins, labels)
        save_figure(size_bin_figure(rows, rule), folder, f"size_bins_{rule.name}{place}")
        if rule.name != settings.rules[0]:
            continue
        _draw_groups(evaluation, labels, place, folder)
        for quantity, unit in {"volume_ml": "ml", "lesion_count": ""}.items():
            pairs = paired(evaluation.visits, rater, labels, quantity)
            kind = "volume" if unit else "count"
            footer = (
                f"Rule {rule.name}: {rule.description}. One point per case ({pairs['patient_id'].nunique()} patients)."
            )
            title = Labels(f"{labels['lesion_type']}, lesion {kind}", unit, rater, data=settings.note, footer=footer)
            figure = concordance_figure(pairs["reference"], pairs["prediction"], title)
            save_figure(figure, folder, f"concordance_{quantity}{place}")


def _draw_groups(evaluation: Evaluation, labels: Mapping[str, str], place: str, folder: Path) -> None:
    """Draw what is known of sizes, visits, sites and regions, under the first rule."""
    rule = rules_by_name((labels["rule"],))[0]
    sizes = select(evaluation.size_groups, labels).assign(cohort=labels["rater"])
    save_figure(size_group_figure(sizes, rule), folder, f"size_groups_{rule.name}{place}")
    visits = select(evaluation.agreement_by_visit, labels)
    if has_change(visits):
        save_figure(visit_figure(visits, rule), folder, f"agreement_by_visit_{rule.name}{place}")
    sites = select(evaluation.agreement_by_site, labels)
    if len(sites):
        save_figure(site_figure(sites, rule), folder, f"agreement_by_site_{rule.name}{place}")
    for scheme, rows in select(evaluation.agreement_by_location, labels).groupby("scheme", sort=False):
        save_figure(location_figure(rows, rule), folder, f"agreement_by_location_{scheme}_{rule.name}{place}")
