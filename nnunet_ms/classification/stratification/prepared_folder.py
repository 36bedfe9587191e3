"""A folder of prepared scans to learn from or to judge: `nnunet-ms-stratify prepare`.

========================  ===========================================================================================
`settings.json`           what all scans are made with
`scans.csv`               `PREPARED_SCANS`: one row per scan that is ready
`scans/<case_id>.npz`     what the networks see of it, see `preparation.load_prepared`
`left_out.csv`            `LEFT_OUT`: scans without an outcome (`all`), and regions that a scan lacks
`failures.csv`            scans that could not be prepared, and why
`overview/<case_id>.png`  T1 and FLAIR in MNI152 space, with the outline of the template's brain
`notes/<case_id>.json`    what is known of one scan; an interrupted call goes on after the last of them
========================  ===========================================================================================
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from nnunet_ms.classification.step_folder import claim_folder, digest_of
from nnunet_ms.classification.stratification.brain_stem import BELOW, FLUIDS
from nnunet_ms.classification.stratification.cohort import (
    DISABLED,
    FILE_COLUMNS,
    Cohort,
    EarlierEdss,
    ScanCase,
    read_cohort,
)
from nnunet_ms.classification.stratification.lesion_load import cohort_with_lesion_load
from nnunet_ms.classification.stratification.overview import draw_overview
from nnunet_ms.classification.stratification.preparation import (
    PRIORS,
    PreparationSettings,
    PreparedScan,
    load_prepared,
    prepare_scan,
    save_prepared,
)
from nnunet_ms.classification.stratification.regions import REGIONS, TOOLS
from nnunet_ms.errors import SettingsError, TableError, one_line
from nnunet_ms.images.deepbet_brain import check_deepbet
from nnunet_ms.locks import sole_run
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import remove_leftovers, whole_file
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.plain_names import plain_name
from nnunet_ms.tables import VOLUME_LIMIT_ML, Column, Table, check_unique, read_table, write_failures, write_table

STEP = "nnunet-ms-stratify prepare"
FORMAT = 2  # changes when a value would
VOLUMES = ("brain_ml", *(f"{region}_ml" for region in REGIONS))
PREPARED_SCANS = Table(
    "prepared scans",
    (
        *(Column(name) for name in ("case_id", "patient_id", "visit")),
        Column("age_years", "number", blank=True, minimum=0, maximum=130),
        Column("sex", "category", blank=True),
        Column("field_tesla", "number", blank=True, minimum=0.1, maximum=12),
        Column("lesion_volume_ml", "number", blank=True, minimum=0, maximum=VOLUME_LIMIT_ML),
        Column("edss", "number", minimum=0, maximum=10),
        Column("disabled", "integer", minimum=0, maximum=1),
        Column("days_to_edss", "number"),
        Column("scan_date", "date", required=False, blank=True),
        Column("scan_day", "number", required=False, blank=True),
        *(Column(name, "number", blank=True, minimum=0, maximum=VOLUME_LIMIT_ML) for name in VOLUMES),
        Column("regions_from", "category", blank=True),
        Column("brain_dice", "number", minimum=0, maximum=1),
    ),
    key=("case_id",),
)
LEFT_OUT = Table(
    "left out of strategies",
    tuple(Column(name) for name in ("case_id", "strategy", "reason")),
    key=("case_id", "strategy"),
)


@dataclass(frozen=True)
class PreparedCohort:
    """Scans that are ready.

    Attributes
    ----------
    scans : pandas.DataFrame
        `PREPARED_SCANS`, in the order of the manifest.
    folder : Path
    left_out : pandas.DataFrame
        `LEFT_OUT`.
    failures : list of Failure
        Of the call that prepared them; empty for a folder that is only read.
    lesion_load : str
        How many lesion volumes that call took from a table of visits; blank where it was given none.
    """

    scans: pd.DataFrame
    folder: Path
    left_out: pd.DataFrame
    failures: list[Failure]
    lesion_load: str = ""

    def load(self, case_id: str) -> PreparedScan:
        """What the networks see of a scan.

        Raises
        ------
        TableError
            If there is no such scan.
        ImageError
            If its file is missing or damaged.
        """
        if case_id not in set(self.scans["case_id"]):
            raise TableError(f"{self.folder}: expected a case_id of scans.csv, found {case_id}. Choose one of them.")
        return load_prepared(_scan_file(case_id, self.folder))

    def preparation(self) -> dict[str, Any]:
        """What all scans were made with: `settings.json`.

        Raises
        ------
        TableError
            If it is missing or damaged.
        """
        path = self.folder / "settings.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise TableError(
                f"{path}: expected the settings of {STEP} in JSON ({one_line(error)}). Copy the folder again."
            ) from error


@known_keywords
def prepare_cohort(
    manifest: str | Path,
    output: str | Path,
    settings: PreparationSettings | None = None,
    *,
    earlier_edss: EarlierEdss = "refuse",
    workers: Workers = 1,
    pictures: bool = True,
    visits: str | Path | None = None,
    rater: str | None = None,
) -> PreparedCohort:
    r"""Prepare the scans of a manifest; those that are done are not done again.

    Parameters
    ----------
    manifest : path
        CSV of `cohort.DISABILITY_MANIFEST`.
    output : path
        Folder to fill. A scan in it is kept while its files are as they were; numbers of the patient are read anew.
    settings : PreparationSettings, optional
        Those of the folder, if it has some.
    earlier_edss : {"refuse", "use"}, optional
        See `cohort.read_cohort`.
    workers : int or Dask, optional
        As in `parallel.map_cases`.
    pictures : bool, optional
        Whether `overview` is drawn, of scans that are prepared now.
    visits : path, optional
        `visits.csv` of `nnunet-ms-measure` or `nnunet-ms-predict`: lesion volumes of scans whose row tells none.
    rater : str, optional
        Whose volumes of `visits`, where there are several.

    Returns
    -------
    PreparedCohort
        A scan that cannot be prepared is among the failures.

    Raises
    ------
    TableError
        If the manifest is not one, see `cohort.read_cohort`, or `visits` is none of these scans (`lesion_load`).
    SettingsError
        If the folder was made with other settings, or another run is filling it.

    Examples
    --------
    >>> rows = ["patient_id,visit,scan_day,t1,flair,edss,edss_day"]
    >>> rows += ["P1,base,0,P1_t1.nii.gz,P1_flair.nii.gz,2.5,30", "P2,base,0,P2_t1.nii.gz,P2_flair.nii.gz,4,183"]
    >>> _ = Path("manifest.csv").write_text("\n".join(rows))
    >>> [failure.case for failure in prepare_cohort("manifest.csv", "prepared").failures]  # there are no such images
    ['P1_base', 'P2_base']
    """
    settings, out = settings or PreparationSettings(), Path(output)
    cohort = read_cohort(manifest, earlier_edss)
    if settings.brain == "deepbet":
        check_deepbet()  # once, and not for each scan
    told = _told(settings, earlier_edss)
    loaded, note = (cohort, "") if visits is None else cohort_with_lesion_load(cohort, visits, rater)
    with sole_run(out):
        claim_folder(out, told)
        remove_leftovers(out)
        wanted = [case for case in cohort.cases if _known(case, out) is None]
        job = partial(_prepare, out=out, settings=settings, pictures=pictures)
        done = map_cases(job, wanted, _name, "scans", workers)
        return replace(_write_tables(loaded, done.failures, out), lesion_load=note)


def read_prepared(folder: str | Path) -> PreparedCohort:
    """Read what `prepare_cohort` wrote; images are loaded one by one, by `PreparedCohort.load`.

    Raises
    ------
    TableError
        If it is no such folder, or a table is damaged.

    Examples
    --------
    >>> read_prepared("study")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: study: expected a folder of nnunet-ms-stratify prepare, found no scans.csv. Run ...
    """
    folder = Path(folder)
    for name in ("scans.csv", "left_out.csv"):
        if not (folder / name).is_file():
            raise TableError(f"{folder}: expected a folder of {STEP}, found no {name}. Run that step first.")
    scans = read_table(folder / "scans.csv", PREPARED_SCANS)
    _check_scans(scans, folder / "scans.csv")
    return PreparedCohort(scans, folder, read_table(folder / "left_out.csv", LEFT_OUT), [])


def _check_scans(scans: pd.DataFrame, path: Path) -> None:
    """What `prepare` never writes: file names that lead elsewhere, a scan twice, an outcome that its EDSS denies."""
    for row, case_id in enumerate(scans["case_id"], 1):
        plain_name(case_id, f"{path}: row {row}, column case_id", TableError)
    check_unique(scans, ["patient_id", "visit"], path)
    wrong = scans[(scans["edss"] >= DISABLED) != (scans["disabled"] == 1)]
    if len(wrong):
        row = wrong.iloc[0]
        raise TableError(
            f"{path}: row {int(wrong.index[0]) + 1}, column disabled: expected {int(row['edss'] >= DISABLED)}, as "
            f"EDSS {row['edss']:g} tells, found {row['disabled']} ({len(wrong)} such rows). Correct the EDSS in the "
            f"manifest, and repeat {STEP}."
        )
    empty = scans[scans["brain_ml"] == 0]
    if len(empty):
        raise TableError(
            f"{path}: row {int(empty.index[0]) + 1}, column brain_ml: expected a volume above 0, found 0. Prepare the "
            "scan again."
        )


def _name(case: ScanCase) -> str:
    return case.case_id


def _told(settings: PreparationSettings, earlier_edss: str) -> dict[str, Any]:
    """What decides the result, without paths: they may move."""
    table = sorted(settings.table.items())
    tools = [tool for tool, ids in TOOLS.items() if sorted(ids.items()) == table]
    return {
        "step": STEP,
        "format": FORMAT,
        "edge_mm": settings.edge_mm,
        "labels_of": tools[0] if tools else "other",
        "label_table_sha256": hashlib.sha256(json.dumps(table).encode()).hexdigest(),
        "priors_sha256": None if settings.priors is None else _digest_of_priors(settings.priors),
        "brain": settings.brain,
        "in_mni": settings.in_mni,
        "n4": settings.n4,
        "earlier_edss": earlier_edss,
    }


def _digest_of_priors(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (*PRIORS.values(), BELOW, *FLUIDS[:1]):
        path = Path(folder) / name
        if not path.is_file():
            raise SettingsError(
                f"{folder}: expected NiftySeg's tissue priors, found no {name}. Name the folder that holds them."
            )
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _made_from(case: ScanCase) -> str:
    return digest_of([case.patient_id, case.visit], {name: getattr(case, name) for name in FILE_COLUMNS})


def _note(case: ScanCase, out: Path) -> Path:
    return out / "notes" / f"{case.case_id}.json"


def _scan_file(case_id: str, out: Path) -> Path:
    return out / "scans" / f"{case_id}.npz"


def _known(case: ScanCase, out: Path) -> dict[str, Any] | None:
    """What is noted of a scan, if it was made from the same files; a damaged note is none."""
    try:
        note: dict[str, Any] = json.loads(_note(case, out).read_text(encoding="utf-8"))
        size = _scan_file(case.case_id, out).stat().st_size
        is_same = note["made_from"] == _made_from(case) and note["scan_bytes"] == size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note if is_same else None


def _prepare(case: ScanCase, out: Path, settings: PreparationSettings, *, pictures: bool) -> None:
    """Write what the networks see of a scan, its picture, and then its note."""
    made_from = _made_from(case)  # before reading: a file that changes meanwhile is read again by the next call
    scan = prepare_scan(case, settings)
    save_prepared(scan, _scan_file(case.case_id, out))
    if pictures:
        draw_overview(scan, case.case_id, out / "overview" / f"{case.case_id}.png")
    note = {
        "made_from": made_from,
        "scan_bytes": _scan_file(case.case_id, out).stat().st_size,
        "volumes_ml": dict(scan.volumes_ml),
        "regions_from": scan.regions_from,
        "brain_dice": scan.brain_dice,
        "lacking": [region for region in REGIONS if region not in scan.regions],
        "empty": scan.empty,
    }
    with whole_file(_note(case, out)) as partial_file:
        partial_file.write_text(json.dumps(note), encoding="utf-8")


def _write_tables(cohort: Cohort, failures: Sequence[Failure], out: Path) -> PreparedCohort:
    """Put the notes of all scans together, in the order of the manifest."""
    notes = [(case, note) for case in cohort.cases if (note := _known(case, out)) is not None]
    scans = pd.DataFrame([_row(case, note) for case, note in notes], columns=PREPARED_SCANS.names)
    rows = [(one.case, "all", one.reason) for one in cohort.left_out]
    rows += [row for case, note in notes for row in _lacking_rows(case.case_id, note)]
    left_out = pd.DataFrame(rows, columns=LEFT_OUT.names)
    write_table(scans, out / "scans.csv")
    write_table(left_out, out / "left_out.csv")
    write_failures(failures, out / "failures.csv")
    return PreparedCohort(scans, out, left_out, list(failures))


def _row(case: ScanCase, note: dict[str, Any]) -> dict[str, object]:
    own = {name: getattr(case, name) for name in PREPARED_SCANS.names if hasattr(case, name)}
    volumes = {name: note["volumes_ml"].get(name) for name in VOLUMES}
    rest = {"regions_from": note["regions_from"], "brain_dice": note["brain_dice"]}
    return {**own, "disabled": int(case.disabled), "scan_date": case.scan_date or None, **volumes, **rest}


def _lacking_rows(case_id: str, note: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        *((case_id, region, "no label map and no priors") for region in note["lacking"]),
        *((case_id, region, "no voxel of the region") for region in note["empty"]),
    ]
