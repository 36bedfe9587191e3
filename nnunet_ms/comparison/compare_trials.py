"""Several trials in one document: their outputs are read, laid side by side and written, complete or absent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from nnunet_ms.analysis.report import rtf
from nnunet_ms.analysis.report.figures.drawing import Drawing
from nnunet_ms.analysis.report.parts import TextTable
from nnunet_ms.analysis.report.render import EmbeddedFigure, embed, page_template
from nnunet_ms.analysis.report.shells import MARK, Shell, aligned
from nnunet_ms.analysis.report.wording import joined
from nnunet_ms.analysis.run_trial import is_result_of, write_provenance
from nnunet_ms.analysis.trial.published import SOURCE
from nnunet_ms.comparison.common_ground import common_endpoints, common_raters, differences
from nnunet_ms.comparison.compared_trial import NUMBERS, ComparedTrial, read_trials, sha256
from nnunet_ms.comparison.effects import POOLED, effect_rows, pooled_rows
from nnunet_ms.comparison.evaluations import MaskAgreement, find_test_sets
from nnunet_ms.comparison.forest import NO_POOLING, forest
from nnunet_ms.comparison.trial_tables import (
    cohort_table,
    difference_table,
    effect_table,
    pooled_table,
    size_table,
    test_set_table,
)
from nnunet_ms.errors import SettingsError
from nnunet_ms.options import by_name, known_keywords, switch
from nnunet_ms.outputs import whole_folder
from nnunet_ms.plotting.style import save_figure
from nnunet_ms.tables import write_table
from nnunet_ms.threads import one_thread
from nnunet_ms.versions import OWN, version_of

PROGRAM = "nnunet-ms-endpoints compare"
TEMPLATE = "comparison.html.j2"
_LIBRARIES = ("nnunet-ms", "numpy", "scipy", "pandas", "statsmodels", "matplotlib", "jinja2", "rtflite")


@dataclass(frozen=True)
class TrialComparison:
    """What several trials have in common, and what not.

    `effects` has the columns of `effects.EFFECTS`, `differences` those of `common_ground.DIFFERENCES`, `pooled` those
    of `effects.POOLED` (no row unless asked for). `tables`: as shown, by the name of their file.
    """

    trials: list[ComparedTrial]
    effects: pd.DataFrame
    differences: pd.DataFrame
    pooled: pd.DataFrame
    tables: dict[str, TextTable]
    figure: Drawing | None
    masks: list[MaskAgreement]


@dataclass(frozen=True)
class _Section:
    key: str
    title: str
    texts: list[str]
    tables: list[TextTable]
    figure: EmbeddedFigure | None = None


@one_thread
@known_keywords
def compare_trials(
    trials: Sequence[str | Path],
    out: str | Path,
    *,
    evaluations: Mapping[str, str | Path] | None = None,
    test_sets: Mapping[str, str | Path] | None = None,
    pool: bool = False,
) -> TrialComparison:
    """Lay the outputs of several trials side by side: cohorts, agreement of masks, sizes of lesions, effects.

    What all trials have is compared; what not all have (outcomes, raters, rules, conventions) is listed by name.
    Nothing is computed anew and, unless asked for, nothing is pooled.

    Parameters
    ----------
    trials : sequence of str or Path
        Folders that `run_trial` wrote, at least two, of different trials; their order is that of the columns.
    out : str or Path
        Made, or replaced if an earlier comparison made it; it holds the whole result or is as it was.
    evaluations : mapping, optional
        Trial (its name, its folder, or the folder's name) -> output of `evaluate`; of `measure`, `predict` or
        `simulate` for the sizes of lesions alone. Without it the evaluation that the trial's
        settings named is taken where it is found with the same content.
    test_sets : mapping, optional
        Name of a cohort without a trial, such as a challenge -> the same.
    pool : bool, optional
        Whether ratios are pooled over the trials, by a common effect and by random effects.

    Returns
    -------
    TrialComparison
        What was written; numbers are not rounded in `effects`.

    Raises
    ------
    OptionError
        If `evaluations` or `test_sets` have no names, or `pool` is neither True nor False.
    SettingsError, TableError
        If a folder is no whole output, a trial stands twice, intervals have different levels, or the trials have no
        endpoint in common; then nothing is written.

    Examples
    --------
    >>> from nnunet_ms.analysis.run_trial import run_trial
    >>> _ = run_trial("trial/trial.toml", "first")
    >>> compare_trials(["first", "first"], "comparison")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: first: expected different trials, found the trial of first again ...
    """
    folder, pool = Path(out), switch(pool, "pool")
    read = read_trials(trials)
    masks = find_test_sets(read, by_name(evaluations or {}, "evaluations"), by_name(test_sets or {}, "test_sets"))
    _check_out(folder, [*(trial.folder for trial in read), *(one.folder for one in masks if one.folder)])
    with whole_folder(folder, replace=True) as partial:
        comparison = _compare(read, masks, pool=pool)
        _write(comparison, partial, pool=pool)
    return comparison


def _compare(trials: list[ComparedTrial], masks: list[MaskAgreement], *, pool: bool) -> TrialComparison:
    endpoints, raters = common_endpoints(trials), common_raters(trials)
    effects, odd = effect_rows(trials, endpoints, raters), differences(trials, masks)
    pooled = pooled_rows(trials, effects) if pool else pd.DataFrame(columns=POOLED.names)
    shown = [
        cohort_table(trials, raters),
        test_set_table(trials, masks),
        size_table(trials, masks),
        effect_table(trials, effects),
        pooled_table(pooled),
        difference_table(trials, odd),
    ]
    tables = {table.stem: table for table in shown if table.lines}
    return TrialComparison(trials, effects, odd, pooled, tables, forest(trials, effects, pooled), masks)


def _check_out(out: Path, inputs: Sequence[Path]) -> None:
    """Raise SettingsError unless `out` may be written: absent, empty, or an earlier comparison that holds no input."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise SettingsError(f"{out}: expected a folder to write, found a file or link. Choose another -o.")
    for path in inputs:
        if path.resolve().is_relative_to(out.resolve()) or out.resolve().is_relative_to(path.resolve()):
            raise SettingsError(f"{out}: expected a folder apart from the input {path}. Choose another -o.")
    if out.exists() and any(out.iterdir()) and not is_result_of(PROGRAM, out):
        raise SettingsError(
            f"{out}: expected an empty folder or an earlier result of {PROGRAM}, found other files. Choose another -o."
        )


def _write(found: TrialComparison, folder: Path, *, pool: bool) -> None:
    write_table(found.effects, folder / "effects.csv")
    write_table(found.differences, folder / "differences.csv")
    if pool:
        write_table(found.pooled, folder / "pooled.csv")
    provenance = _provenance(found, pool=pool)
    shells = _shells(found)
    for shell in shells:
        write_table(shell.table.frame(), folder / "tables" / f"{shell.table.stem}.csv")
        if rtf.available():
            rtf.write_rtf(shell, folder / "tables" / f"{shell.table.stem}.rtf")
    figure = None
    if found.figure:
        svg, _ = save_figure(found.figure.figure, folder / "figures", found.figure.stem)
        figure = embed(svg, found.figure.caption, found.figure.alt, found.figure.figure.get_figwidth())
    page = _page(found, provenance, figure, {shell.table.stem: shell.number for shell in shells}, pool=pool)
    (folder / "index.html").write_text(page, encoding="utf-8", newline="\n")
    write_provenance(provenance, folder)


def _simulated(found: TrialComparison) -> list[str]:
    return [trial.name for trial in found.trials if trial.settings["simulated"]]


def _title(found: TrialComparison) -> str:
    return f"Comparison of {joined([trial.name for trial in found.trials])}"


def _source_note(found: TrialComparison) -> str:
    sources = dict.fromkeys([SOURCE, *(t.published.trial_source for t in found.trials if t.published)])
    return (
        f"“Published” repeats what is printed in {'; '.join(sources)}. It was measured on those trials' own images and "
        "patients, not on this data."
    )


def _shells(found: TrialComparison) -> list[Shell]:
    """The tables as they stand on paper, numbered 1, 2, 3."""
    simulated = _simulated(found)
    mark = MARK if len(simulated) == len(found.trials) else f"SIMULATED DATA: {', '.join(simulated)}"
    header = (*([mark] if simulated else []), _title(found))
    program = f"Program: {PROGRAM} {version_of(OWN)}, {datetime.now(UTC).date().isoformat()}"
    printed = any(trial.published for trial in found.trials)
    shells = []
    for number, table in enumerate(found.tables.values(), start=1):
        note = (table.note,) if table.note else ()
        source = (_source_note(found),) if printed and table.stem != "differences" else ()
        shown = TextTable(table.stem, table.title, table.head, aligned(table.lines), table.note)
        shells.append(Shell(str(number), shown, (f"Table {number}", table.title), (*note, *source, program), header))
    return shells


def _page(
    found: TrialComparison,
    provenance: Mapping[str, Any],
    figure: EmbeddedFigure | None,
    numbers: Mapping[str, str],
    *,
    pool: bool,
) -> str:
    tables = found.tables
    printed = [_source_note(found)] if any(trial.published for trial in found.trials) else []
    apart = "Outcomes, raters, rules and settings that not all have; what is not listed is alike."
    together = [] if pool else [NO_POOLING]
    sections = [
        _Section("cohorts", "Cohorts", printed, _there(tables, "cohorts")),
        _Section("test_sets", "Agreement of masks", _no_masks(found), _there(tables, "test_sets", "lesion_sizes")),
        _Section("effects", "Effects of treatment", together, _there(tables, "effects", "pooled"), figure),
        _Section(
            "differences", "What they do not have in common", [apart if len(found.differences) else "Nothing differs."],
            _there(tables, "differences"),
        ),
    ]  # fmt: skip
    return page_template(TEMPLATE).render(
        title=_title(found),
        trials=found.trials,
        simulated=_simulated(found),
        sections=sections,
        numbers=numbers,
        aligned=aligned,
        provenance=provenance,
    )


def _there(tables: Mapping[str, TextTable], *stems: str) -> list[TextTable]:
    return [tables[stem] for stem in stems if stem in tables]


def _no_masks(found: TrialComparison) -> list[str]:
    """What is missing of the agreement of masks, and how to add it."""
    with_sizes = {one.name for one in found.masks if len(one.sizes)}
    with_agreement = {one.name for one in found.masks if len(one.agreement)}
    without = [trial.name for trial in found.trials if trial.name not in with_agreement]
    unsized = [t.name for t in found.trials if t.name not in with_sizes and t.name not in without]
    texts = []
    if without:
        texts.append(f"No agreement of masks is known of {joined(without)}: name its evaluation (--evaluation).")
    if unsized:
        texts.append(f"The sizes of lesions of {joined(unsized)} are in its evaluation folder: name it (--evaluation).")
    return texts


def _provenance(found: TrialComparison, *, pool: bool) -> dict[str, Any]:
    inputs = [_input(trial.name, trial.folder / NUMBERS) for trial in found.trials]
    for one in found.masks:
        if one.folder:
            inputs += [_input(one.name, one.folder / name) for name in one.files]
    return {
        "program": PROGRAM,
        "arguments": {"command": "compare", "pool": pool},
        "versions": {name: version_of(name) for name in _LIBRARIES},
        "inputs": inputs,
        "trials": [dict(trial.settings) for trial in found.trials],
    }


def _input(of: str, path: Path) -> dict[str, str]:
    return {"of": of, "file": f"{path.parent.name}/{path.name}", "sha256": sha256(path)}
