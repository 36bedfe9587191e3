"""Several raters against each other, their consensus, and a model as one more rater: `nnunet-ms-evaluate --raters`.

As in supplements S1 and S2 of Krishnan et al. [1]_. Written into the output folder:

==========================  ===========================================================================================
`rater_matrix.csv`          `RATER_MATRIX`: every metric of every ordered pair, mean over the cases that both have
`rater_cases.csv`           `RATER_CASES`: the same per case
`rater_sizes.csv`           `RATER_SIZES`: detection by lesion size, pooled
`williams.csv`              `WILLIAMS`: Williams' index of every rater and model, with interval
`staple.csv`                `STAPLE_RATES`: sensitivity and specificity that STAPLE estimates, mean over cases
`staple_cases.csv`          `STAPLE_CASES`: the same per case
`missing_raters.csv`        `MISSING_RATERS`: who has no mask of which case
`rater_matrix_<rule>.svg`   heat map of Dice and detection; with several lesion types one each
`rater_sizes_<rule>.svg`    LTPR and LFPR by lesion size against the majority
`raters.html`               all of it on one page
`failures.csv`              cases that are in none of the above, and masks that could not be used, and why
==========================  ===========================================================================================

The consensus is made of the raters alone, never of a model: `majority` (more than half of those who have read the case;
a tie is no lesion), `staple`, and `majority_of_others`, which leaves out the rater who is compared with it.

References
----------
.. [1] Krishnan AP et al. Sci Rep 2023;13:4102. doi:10.1038/s41598-023-31207-5
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from nnunet_ms import tables
from nnunet_ms.analysis.evaluation.asked import Place, Places, check_output, path, paths
from nnunet_ms.analysis.evaluation.pairing import SUFFIX, masks_in
from nnunet_ms.analysis.evaluation.rater_cases import RaterRows, RaterSettings, compare_raters, joined
from nnunet_ms.analysis.evaluation.rater_consensus import CONSENSUS, MAJORITY
from nnunet_ms.analysis.evaluation.rater_figures import matrix_figure, sizes_figure
from nnunet_ms.analysis.evaluation.rater_page import PAGE, write_page
from nnunet_ms.analysis.evaluation.rater_pairing import RaterCases, pair_raters
from nnunet_ms.analysis.evaluation.rater_tables import (
    MISSING_RATERS,
    RATER_CASES,
    RATER_MATRIX,
    RATER_SIZES,
    STAPLE_CASES,
    STAPLE_RATES,
    WILLIAMS,
    RaterMatrix,
    rater_tables,
)
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.errors import ImageError, SettingsError, visible
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import whole_folder
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.plain_names import plain_name
from nnunet_ms.plotting.style import save_figure
from nnunet_ms.tables import REFERENCE
from nnunet_ms.threads import one_thread

_TABLES = {
    "rater_matrix.csv": RATER_MATRIX,
    "rater_cases.csv": RATER_CASES,
    "rater_sizes.csv": RATER_SIZES,
    "williams.csv": WILLIAMS,
    "staple.csv": STAPLE_RATES,
    "staple_cases.csv": STAPLE_CASES,
    "missing_raters.csv": MISSING_RATERS,
    "failures.csv": tables.FAILURES,
}
_FIGURES = ("rater_matrix_", "rater_sizes_")
_MINIMUM_RATERS = 2


@one_thread
@known_keywords
def rater_matrix(
    raters: Places | Sequence[Place],
    out: Place,
    *,
    models: Places | None = None,
    references: Place | None = None,
    cases: Place | None = None,
    rules: str | Sequence[str] = "krishnan2023",
    lesion_type: str = "t2_lesions",
    labels: Mapping[str, int] | None = None,
    brain_masks: Place | None = None,
    workers: Workers = 1,
    note: str = "",
) -> RaterMatrix:
    """Compare several raters with each other and with their consensus, and write tables, heat maps and a page.

    Parameters
    ----------
    raters : mapping or sequence of path
        Name -> folder of `<case_id>.nii.gz`, or folders, which then give the names; two at least. A rater may lack
        cases: every pair is compared on the cases that both have.
    out : path
        Folder to write, complete or not at all. An earlier one is replaced.
    models : mapping, optional
        Name -> folder of a model's masks, or a second grader's: compared with everybody, not part of the consensus.
    references : path, optional
        Folder of a consensus that was made elsewhere, such as a challenge's own: a further column, "reference".
    cases : path, optional
        `tables.CASES`: gives the patient of each case, and restricts the cases to those that it names. Without it every
        case is its own patient.
    rules : str or sequence of str, optional
        Names in `rules.RULES`.
    lesion_type : str, optional
        Written into every table; label 1 of the masks, unless `labels` is given.
    labels : mapping, optional
        Lesion type -> label, for masks that hold several types.
    brain_masks : path, optional
        Folder of brain masks: the voxels that STAPLE and nDSC count; without it those of the whole image.
    workers : int or Dask, optional
        Local processes, >= 1, or a cluster.
    note : str, optional
        What the data are, such as "simulated".

    Raises
    ------
    SettingsError
        If a folder is missing, names are alike or taken, no case has two masks, a rule is unknown, or `out` holds
        something else.
    TableError
        If `cases` is not a cases table.
    ImageError
        If not one case could be compared.

    Examples
    --------
    >>> found = rater_matrix({"R1": "references", "R2": "predictions"}, "raters")
    >>> matrix = found.matrix.query("metric == 'dice'").set_index(["rater", "versus"])["mean"]
    >>> matrix["R1", "R2"].round(3).item(), matrix["R2", "R1"].round(3).item()
    (0.933, 0.933)
    """
    own, beside = _named(raters), paths(models)
    given = {} if references is None else {REFERENCE: Path(references)}
    settings = RaterSettings(
        raters=tuple(own),
        models=tuple(beside),
        rules=(rules,) if isinstance(rules, str) else tuple(rules),
        labels={name.strip(): label for name, label in (labels or {lesion_type: 1}).items()},
        note=note.strip(),
        brain=path(brain_masks),
    )
    _check(settings)
    _check_folders({**given, **own, **beside})
    target = Path(out).resolve()
    check_output(target, _is_ours)
    # the reference comes first, because masks are read as those of a reference and of others
    paired = pair_raters({**given, **own, **beside}, path(cases))
    with whole_folder(target, replace=True) as folder:
        found = _compare(paired, settings, workers, folder)
        _write(found, settings, folder)
    return replace(found, out=target)


def _named(raters: Places | Sequence[Place]) -> dict[str, Path]:
    """Folders by the rater's name; a folder without one gives it."""
    if isinstance(raters, Mapping):
        return paths(raters)
    if isinstance(raters, str | Path):
        raise SettingsError(f"raters: expected two folders at least, found {raters}. Give one folder per rater.")
    named: dict[str, Path] = {}
    for folder in raters:
        name = Path(folder).resolve().name
        if name in named:
            if Path(folder).resolve() == named[name].resolve():
                raise SettingsError(f"raters: expected different folders, found {folder} twice. Give it once.")
            raise SettingsError(
                f"raters: expected folders of different names, found two called {name!r} ({named[name]}, {folder}). "
                "Name the raters: R1=DIR R2=DIR."
            )
        named[name] = Path(folder)
    return named


def _check(settings: RaterSettings) -> None:
    names = [*settings.raters, *settings.models]
    taken = (REFERENCE, *CONSENSUS)
    if len(settings.raters) < _MINIMUM_RATERS:
        raise SettingsError(
            f"raters: expected two at least, found {list(settings.raters)}. To compare masks with one reference leave "
            "raters out, and give predictions and references."
        )
    if len({name.casefold() for name in names}) < len(names):
        raise SettingsError(f"raters: expected different names, models included, found {names}. Rename one.")
    for name in names:
        if name in ("", *taken):
            raise SettingsError(f"raters: expected a name that is none of {list(taken)}, found {name!r}. Rename it.")
        plain_name(name, "rater")
    rules_by_name(settings.rules)
    for lesion_type in settings.labels:
        plain_name(lesion_type, "lesion type")
    values = list(settings.labels.values())
    if not values or len(set(values)) < len(values) or not all(0 < value < 256 for value in values):
        raise SettingsError(f"labels: expected different whole numbers 1 to 255, found {values}. Correct them.")
    if settings.brain is not None and not settings.brain.is_dir():
        raise SettingsError(f"{settings.brain}: expected a folder of brain masks, found none. Check the path.")


def _check_folders(folders: Mapping[str, Path]) -> None:
    """Refuse a folder that stands twice: it would vote twice in the consensus, and agree with itself."""
    seen: dict[Path, str] = {}
    for name, folder in folders.items():
        other = seen.setdefault(folder.resolve(), name)
        if other != name:
            raise SettingsError(
                f"{folder}: expected a folder per rater, found it as {other!r} and {name!r}. Correct it."
            )
        if not masks_in(folder):
            raise SettingsError(
                f"{folder}: expected masks <case_id>{SUFFIX} of {name}, found none. Check the path, or leave "
                f"{name} out."
            )


def _compare(paired: RaterCases, settings: RaterSettings, workers: Workers, folder: Path) -> RaterMatrix:
    work = partial(compare_raters, settings=settings)
    done = map_cases(work, paired.cases, lambda case: case.case_id, "compare raters", workers)
    rows = joined(done.results)
    failures = sorted([*paired.failures, *done.failures, *_refused(rows)], key=lambda failure: failure.case)
    if not rows.metrics:
        listed = "; ".join(f"{failure.case}: {failure.reason}" for failure in failures[:3])
        raise ImageError(f"none of {len(failures)} cases could be compared. {listed}")
    found = rater_tables(rows, settings)
    lacking = [*paired.missing, *((visible(case), rater) for case, rater, _ in rows.refused)]
    missing = pd.DataFrame(lacking, columns=["case_id", "rater"]).assign(data_note=settings.note)
    return RaterMatrix(
        **vars(found),
        missing=missing,
        failures=failures,
        left_out=paired.left_out,
        n_cases=len(done.results),
        out=folder,
    )


def _refused(rows: RaterRows) -> Iterator[Failure]:
    """Cases that were compared without a rater whose mask cannot be used."""
    for case in dict.fromkeys(case for case, _, _ in rows.refused):
        readers = [rater for one, rater, _ in rows.refused if one == case]
        reasons = " ".join(reason for one, _, reason in rows.refused if one == case)
        yield Failure(visible(case), f"{reasons} The case is compared without {', '.join(readers)}.")


def _is_ours(name: str) -> bool:
    figure = name.startswith(_FIGURES) and name.endswith((".svg", ".png"))
    return name in (*_TABLES, PAGE) or figure


def _write(found: RaterMatrix, settings: RaterSettings, folder: Path) -> None:
    frames = {
        "rater_matrix.csv": found.matrix,
        "rater_cases.csv": found.cases,
        "rater_sizes.csv": found.sizes,
        "williams.csv": found.williams,
        "staple.csv": found.staple,
        "staple_cases.csv": found.staple_cases,
        "missing_raters.csv": found.missing,
    }
    for name, frame in frames.items():
        tables.write_table(frame, folder / name)
    tables.write_failures(found.failures, folder / "failures.csv")
    pictures = _draw(found, settings, folder)
    write_page(folder, found, settings, pictures)


def _draw(found: RaterMatrix, settings: RaterSettings, folder: Path) -> dict[tuple[str, str], list[Path]]:
    """Pictures (SVG) of every lesion type and rule."""
    readers = [*settings.raters, *settings.models]
    columns = [*readers, *(name for name in (REFERENCE, *CONSENSUS) if name in set(found.matrix["versus"]))]
    pictures: dict[tuple[str, str], list[Path]] = {}
    for lesion_type in settings.labels:
        place = f"_{lesion_type}" if len(settings.labels) > 1 else ""
        for rule in settings.rules_with_bins:
            chosen = {"lesion_type": lesion_type, "rule": rule.name}
            matrix, sizes = (_select(frame, chosen) for frame in (found.matrix, found.sizes))
            figure = matrix_figure(matrix, rule, readers, columns)
            drawn = [save_figure(figure, folder, f"rater_matrix_{rule.name}{place}")[0]]
            against = _select(sizes, {"versus": MAJORITY})
            if len(against):
                by_size = sizes_figure(against, rule, readers, MAJORITY)
                drawn.append(save_figure(by_size, folder, f"rater_sizes_{rule.name}{place}")[0])
            pictures[lesion_type, rule.name] = drawn
    return pictures


def _select(frame: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    for name, value in labels.items():
        frame = frame[frame[name] == value]
    return frame
