"""Write a trial's results: one folder, complete or absent, the same bytes for the same input but for one time stamp."""

import hashlib
import json
import platform
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from nnunet_ms.analysis.endpoints.recipe import Results, compute_endpoints
from nnunet_ms.analysis.report.blocks.all_blocks import build_blocks, chosen_blocks
from nnunet_ms.analysis.report.documents import write_documents
from nnunet_ms.analysis.report.figures.all_figures import trial_drawings
from nnunet_ms.analysis.report.render import EmbeddedFigure, embed, render_page
from nnunet_ms.analysis.trial.data import TrialData, read_trial
from nnunet_ms.analysis.trial.settings import Preset, TrialSettings, read_settings
from nnunet_ms.analysis.trial.settings_record import settings_record
from nnunet_ms.errors import SettingsError
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import whole_folder
from nnunet_ms.plotting.style import save_figure
from nnunet_ms.progress import Progress, unseen
from nnunet_ms.table_files import UTF_8, read_csv_file
from nnunet_ms.tables import write_table
from nnunet_ms.threads import one_thread
from nnunet_ms.versions import version_of

PROGRAM = "nnunet-ms-endpoints"
PROVENANCE = "provenance.json"
# what computed the numbers, and what drew and wrote them
LIBRARIES = (
    "nnunet-ms",
    "numpy",
    "scipy",
    "pandas",
    "statsmodels",
    "lifelines",
    "matplotlib",
    "jinja2",
    "rtflite",
    "reportlab",
)


@one_thread
@known_keywords
def run_trial(
    settings: str | Path, out: str | Path, conventions: Preset | None = None, progress: Progress = unseen
) -> Results:
    """Read a trial's tables, check them, compute every endpoint for every rater, and write the report.

    Parameters
    ----------
    settings : str or Path
        `trial.toml`, as `nnunet-ms-endpoints init` writes it.
    out : str or Path
        Made, or replaced if an earlier run of this command made it; it holds the whole result or is as it was.
    conventions : {"r", "sas"}, optional
        Instead of the preset of the settings; single choices of the file still hold.
    progress : Progress, optional
        Shows what is at work: `progress.bar` on a terminal; without it nothing is shown.

    Returns
    -------
    Results
        What was written: `endpoints` is the long table of all statistics, numbers not rounded.

    Raises
    ------
    TableError, SettingsError
        If anything cannot be used; then nothing is written.

    Examples
    --------
    >>> results = run_trial("trial/trial.toml", "report")
    >>> rows = results.endpoints.query("endpoint == 'cdp24' and stat_name == 'hazard_ratio' and rater == 'reference'")
    >>> Path("report/index.html").is_file(), len(rows) > 0
    (True, True)
    """
    folder, asked = Path(out), read_settings(Path(settings), conventions)
    check_out(folder, asked)
    with whole_folder(folder, replace=True) as partial_folder:  # so early that a second run does not compute in vain
        trial = read_trial(asked)
        results = compute_endpoints(trial, progress)
        write_results(trial, results, partial_folder, progress)
    return results


def check_out(out: Path, settings: TrialSettings) -> None:
    """Raise SettingsError unless `out` may be written: absent, empty, or an earlier result without our inputs in it."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise SettingsError(f"{out}: expected a folder to write, found a file or link. Choose another -o.")
    if not out.exists() or not any(out.iterdir()):
        return
    if not is_result_of(PROGRAM, out):
        raise SettingsError(
            f"{out}: expected an empty folder or an earlier result of {PROGRAM}, found other files. Choose another -o."
        )
    for path in (settings.path, *settings.tables.named().values()):
        if path.resolve().is_relative_to(out.resolve()):
            raise SettingsError(f"{out}: holds the input {path.name} and would be replaced. Choose another -o.")


def write_results(trial: TrialData, results: Results, folder: Path, progress: Progress = unseen) -> None:
    """Write every file of the result into an empty folder."""
    write_table(results.endpoints, folder / "endpoints.csv")
    for name, frame in results.curves.items():
        write_table(frame, folder / "tables" / f"{name}.csv")
    embedded = _draw(trial, results, folder / "figures", progress)
    blocks = chosen_blocks(build_blocks(trial, results.endpoints, list(embedded)), trial.settings)
    write_documents(trial, blocks, {"patients": trial.patients, **results.audit}, PROGRAM, folder, progress)
    provenance = _provenance(trial, results)
    page = render_page(trial, blocks, embedded, results.exclusions, provenance)
    (folder / "index.html").write_text(page, encoding="utf-8", newline="\n")
    write_provenance(provenance, folder)


def is_result_of(program: str, folder: Path) -> bool:
    """Whether a folder holds the provenance of this program, and so may be replaced by it."""
    try:
        content = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("program") == program


def write_provenance(provenance: Mapping[str, Any], folder: Path) -> None:
    """Write where a result comes from, with the time of the run."""
    stamped = {**provenance, "created_utc": datetime.now(UTC).isoformat(timespec="seconds")}
    (folder / PROVENANCE).write_text(json.dumps(stamped, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _draw(trial: TrialData, results: Results, folder: Path, progress: Progress) -> dict[str, EmbeddedFigure]:
    embedded = {}
    drawings = list(trial_drawings(trial, results))  # to lay one out and write it takes ten times as long
    for drawing in progress(drawings, "figures", lambda drawing: drawing.stem):
        svg, _ = save_figure(drawing.figure, folder, drawing.stem)
        embedded[drawing.stem] = embed(svg, drawing.caption, drawing.alt, drawing.figure.get_figwidth())
    return {**embedded, **_given_figure(trial.settings, folder)}


def _given_figure(settings: TrialSettings, folder: Path) -> dict[str, EmbeddedFigure]:
    source = settings.tables.size_bin_figure
    if source is None:
        return {}
    copy = folder / "agreement_by_size.png"
    shutil.copyfile(source, copy)
    caption = "Agreement by lesion size, as nnunet-ms-evaluate drew it."
    return {"agreement_by_size": embed(copy, caption, "Agreement of masks in groups of lesion size.")}


def _provenance(trial: TrialData, results: Results) -> dict[str, Any]:
    settings = trial.settings
    encoding = (settings.adam.encoding if settings.adam else None) or UTF_8
    inputs = [_input("settings", settings.path, settings.path.name, None)]
    for role, path in sorted(settings.tables.named().items()):
        inputs.append(_input(role, path, _relative(path, settings.path.parent), _rows_in(path, encoding)))
    return {
        "program": PROGRAM,
        "arguments": {"command": "run", "settings": settings.path.name, "conventions": settings.conventions.name},
        "trial": settings_record(settings),
        "seed": settings.analysis.seed,
        "versions": _versions(),
        "inputs": inputs,
        "rows_out": _rows_out(results),
        "raters": list(trial.raters),
    }


def _input(role: str, path: Path, name: str, rows: int | None) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "role": role,
        "file": name,
        "bytes": len(content),
        "rows": rows,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _rows_in(path: Path, encoding: str) -> int | None:
    if path.suffix == ".parquet":
        return len(pd.read_parquet(path))
    return len(read_csv_file(path, None, encoding=encoding)) if path.suffix == ".csv" else None


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version_of(name) for name in LIBRARIES}}


def _rows_out(results: Results) -> Mapping[str, int]:
    frames: dict[str, pd.DataFrame] = {"endpoints": results.endpoints, **results.audit, **results.curves}
    return {name: len(frame) for name, frame in frames.items()}
