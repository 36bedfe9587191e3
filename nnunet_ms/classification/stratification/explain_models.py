"""Attention maps of a strategy's models, per scan, per region and on average: `nnunet-ms-stratify explain`.

=============================  =======================================================================================
`settings.json`                what all maps are made with
`explained_scans.csv`          `EXPLAINED`: per scan and method the logit, and what its relevances sum to
`relevance.csv`                `RELEVANCE`: per scan, method and region the positive relevance
`regions.csv`                  `RANKED_REGIONS`: regions in the order of their density, over scans
`randomisation.csv`            `RANDOMISATION`: maps of the same networks with random weights
`maps/<case>_<method>.nii.gz`  relevance of one scan in MNI152 space, on the grid that it was prepared to
`mean_maps/`, `pictures/`      over scans: all, and true positives
`left_out.csv`                 scans that lack the region; `failures.csv`: scans that could not be read, and why
`notes/`                       what is known of one scan; an interrupted call goes on after the last of them
=============================  =======================================================================================
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms import commands
from nnunet_ms.errors import ImageError, OptionError, TableError, fault_of
from nnunet_ms.options import known_keywords, switch, whole_from
from nnunet_ms.progress import Progress, unseen

if TYPE_CHECKING:
    import pandas as pd

    from nnunet_ms.arrays import Bools
    from nnunet_ms.classification.stratification.explain_folds import Explainers
    from nnunet_ms.classification.stratification.explain_outputs import Explained
    from nnunet_ms.classification.stratification.explain_scans import ScanSettings
    from nnunet_ms.classification.stratification.prepared_folder import PreparedCohort
    from nnunet_ms.images.volumes import Grid
    from nnunet_ms.parallel import Failure

STEP, PROGRAM = "nnunet-ms-stratify explain", "nnunet-ms-stratify"
FORMAT = 1  # changes when a value would


@known_keywords
def explain_cohort(
    model: str | Path,
    prepared: str | Path,
    output: str | Path,
    *,
    methods: Sequence[str] | None = None,
    steps: int = 32,
    atlas: str | Path | None = None,
    atlas_names: str | Path | None = None,
    randomised: int = 3,
    seed: int = 0,
    other_cohort: bool = False,
    data_note: str = "",
    pictures: bool = True,
    device: str = "cpu",
    progress: Progress = unseen,
) -> "Explained":
    """Explain what the models of a strategy look at, scan by scan; those that are done are not done again.

    Parameters
    ----------
    model : path
        `MODELS/<strategy>` of `nnunet-ms-stratify train`.
    prepared : path
        Folder of `nnunet-ms-stratify prepare`. A scan of a patient whom the models were trained on is explained by the
        fold that has not seen the patient, any other by the mean of all folds.
    output : path
        Folder to fill.
    methods : sequence of {"gradcam", "ig", "lrp"}, optional
        None: those that fit the network; LRP fits the compact one only.
    steps : int, optional
        Of integrated gradients.
    atlas, atlas_names : path, optional
        Label map in MNI space, and a table of its labels' names: see `explain_regions.atlas_regions`.
    randomised : int, optional
        How many scans, the first ones, are explained with random weights too; 0: none.
    seed : int, optional
        Of those weights.
    other_cohort : bool, optional
        Whether the scans are of another cohort though it has patients of the same names.
    data_note : str, optional
        What the data are, such as "simulated"; stands in the pictures.
    pictures : bool, optional
        Whether mean maps are drawn.
    device : str, optional
        Of torch.
    progress : Progress, optional

    Returns
    -------
    Explained

    Raises
    ------
    ModelError
        If a model is missing, damaged, for other images, or LRP is asked for of a network without its rules.
    OptionError
        If a method is unknown, or a number out of its range.
    TableError
        If no scan has the region, or the scans contradict those of the training.
    SettingsError
        If captum is not installed, or the folder was made with other settings.

    Examples
    --------
    >>> explain_cohort("models/global", "absent", "explained", data_note="simulated")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: absent: expected a folder of nnunet-ms-stratify prepare, found no scans.csv. Run ...
    """
    from nnunet_ms.classification.step_folder import claim_folder
    from nnunet_ms.classification.stratification.explain_folds import read_explainers
    from nnunet_ms.classification.stratification.explain_methods import captum, checked_methods
    from nnunet_ms.classification.stratification.explain_outputs import written
    from nnunet_ms.classification.stratification.explain_scans import ScanSettings
    from nnunet_ms.classification.stratification.prepared_folder import read_prepared
    from nnunet_ms.classification.torch_runs import check_device
    from nnunet_ms.locks import sole_run
    from nnunet_ms.outputs import remove_leftovers

    whole_from(steps, 2, "steps", "32 are usual.")
    whole_from(randomised, 0, "randomised", "3 are usual.")
    whole_from(seed, 0, "seed", "Any will do.")
    switch(other_cohort, "other_cohort")
    switch(pictures, "pictures")
    if atlas is None and atlas_names is not None:
        raise OptionError("atlas_names: expected an atlas to go with, found none. Give the atlas too, or no names.")
    check_device(device)
    captum()  # before hours of work
    cohort = read_prepared(prepared)
    models = read_explainers(Path(model), cohort.scans, other_cohort=other_cohort)
    settings = ScanSettings(checked_methods(methods, models.networks[0], models.design), steps, seed, device)
    job = _Job(cohort, models, settings, _grid(cohort), _atlas(atlas, atlas_names, cohort), Path(output))
    models.check_grid(job.grid.shape, cohort.folder)
    scans = _able(cohort, models.strategy)
    told = _told(job, scans, atlas=atlas, atlas_names=atlas_names, randomised=randomised)
    with sole_run(job.out):
        claim_folder(job.out, told)
        remove_leftovers(job.out)
        failures = _explained(job, scans, randomised, progress)
        left_out = _lacking(cohort, models.strategy)
        told |= {"data_note": data_note, "pictures": pictures}  # these may be others when the next call goes on
        return written(job.out, scans, told, job.grid, left_out, failures)


@dataclass(frozen=True)
class _Job:
    """What each scan is explained with."""

    cohort: "PreparedCohort"
    models: "Explainers"
    settings: "ScanSettings"
    grid: "Grid"
    atlas: "Mapping[str, Bools]"
    out: Path

    def made_from(self, case_id: str) -> str:
        """Digest of the scan's file: a scan that was prepared anew is explained anew."""
        from nnunet_ms.classification.step_folder import digest_of

        return digest_of([case_id], {"scan": self.cohort.folder / "scans" / f"{case_id}.npz"})


def _grid(cohort: "PreparedCohort") -> "Grid":
    """The grid that scans were prepared to, by the folder's settings."""
    from nnunet_ms.classification.stratification.preparation import PreparationSettings, target_grid

    path = cohort.folder / "settings.json"
    try:
        edge = PreparationSettings(edge_mm=float(json.loads(path.read_text(encoding="utf-8"))["edge_mm"])).edge_mm
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TableError(
            f"{path}: expected the settings of nnunet-ms-stratify prepare with edge_mm, found none "
            f"({type(error).__name__}). Repeat that step."
        ) from error
    return target_grid(edge)


def _atlas(atlas: str | Path | None, names: str | Path | None, cohort: "PreparedCohort") -> "Mapping[str, Bools]":
    from nnunet_ms.classification.stratification.explain_regions import atlas_regions

    return {} if atlas is None else atlas_regions(atlas, names, _grid(cohort))


def _able(cohort: "PreparedCohort", strategy: str) -> "pd.DataFrame":
    """Scans that have the strategy's region."""
    lacking = set(_lacking(cohort, strategy)["case_id"])
    scans = cohort.scans[~cohort.scans["case_id"].isin(lacking)].reset_index(drop=True)
    if scans.empty:
        raise TableError(
            f"{cohort.folder}: expected scans with {strategy}, found none among {len(cohort.scans)}. Prepare them with "
            "label maps that have it, or explain another strategy's models."
        )
    return scans


def _lacking(cohort: "PreparedCohort", strategy: str) -> "pd.DataFrame":
    return cohort.left_out[cohort.left_out["strategy"] == strategy].reset_index(drop=True)


def _told(job: _Job, scans: "pd.DataFrame", **more: Any) -> dict[str, Any]:
    """What decides the result, and what a reader wants to know; without paths, which may move."""
    from nnunet_ms.checkpoints import sha256_of
    from nnunet_ms.classification.stratification.explain_methods import EPSILON, cam_layer

    for name in ("atlas", "atlas_names"):
        path = more.pop(name)
        more[f"{name}_sha256"] = None if path is None else sha256_of(Path(path))
    settings, network = job.settings, job.models.networks[0]
    cam = cam_layer(network, (2, *job.grid.shape)) if "gradcam" in settings.methods else None
    known = [fold for patient in scans["patient_id"] if (fold := job.models.folds.get(patient)) is not None]
    return {
        "step": STEP,
        "format": FORMAT,
        "strategy": job.models.strategy,
        "network": job.models.design,
        "models_sha256": job.models.digest,
        "folds": len(job.models.networks),
        "methods": list(settings.methods),
        "gradcam_layer": None if cam is None else cam.name,
        "gradcam_cells": None if cam is None else list(cam.cells),
        "integrated_gradients_steps": settings.steps if "ig" in settings.methods else None,
        "lrp_epsilon": EPSILON if "lrp" in settings.methods else None,
        "seed": settings.seed,
        "scans_out_of_fold": len(known),
        "scans_by_all_folds": len(scans) - len(known),
        **more,
    }


def _explained(job: _Job, scans: "pd.DataFrame", randomised: int, progress: Progress) -> "list[Failure]":
    """Write maps and note of each scan that has none; a scan that cannot be read is listed."""
    from nnunet_ms.parallel import Failure

    failures = []
    rows = scans.to_dict("records")
    places = {row["case_id"]: place for place, row in enumerate(rows)}
    for row in progress(rows, "scans", lambda row: str(row["case_id"])):
        place = places[row["case_id"]]
        if _is_done(job, row["case_id"]):
            continue
        try:
            _explain_one(job, row, place, randomise=place < randomised)
        except ImageError as error:
            if fault_of(error):
                raise
            failures.append(Failure(row["case_id"], str(error)))
    return failures


def _is_done(job: _Job, case_id: str) -> bool:
    from nnunet_ms.classification.stratification.explain_outputs import map_file, read_note

    note = read_note(job.out, case_id)
    maps = [map_file(job.out, case_id, method) for method in job.settings.methods]
    return note is not None and note["made_from"] == job.made_from(case_id) and all(path.is_file() for path in maps)


def _explain_one(job: _Job, row: "Mapping[str, Any]", place: int, *, randomise: bool) -> None:
    from nnunet_ms.classification.stratification.explain_outputs import map_file, note_file
    from nnunet_ms.classification.stratification.explain_scans import explain_scan
    from nnunet_ms.images.volumes import write_volume
    from nnunet_ms.outputs import whole_file

    case_id = str(row["case_id"])
    made_from = job.made_from(case_id)
    scan = job.cohort.load(case_id)
    images = job.models.images(scan, case_id)
    models, told = job.models.of(str(row["patient_id"]))
    parcellations = {"regions": {str(region): mask for region, mask in scan.regions.items()}, "atlas": job.atlas}
    found = explain_scan(
        images,
        models,
        {name: masks for name, masks in parcellations.items() if masks},
        replace(job.settings, seed=job.settings.seed + 2 * place),  # other random weights for each scan
        randomise=randomise,
    )
    for method, relevance in found.maps.items():
        write_volume(map_file(job.out, case_id, method), relevance, job.grid.affine)
    note = {
        "made_from": made_from,
        "explained_by": told,
        "sums": found.sums,
        "regions": found.regions,
        "randomised": found.randomised,
        "random_regions": found.random_regions,
    }
    with whole_file(note_file(job.out, case_id)) as partial:
        partial.write_text(json.dumps(note), encoding="utf-8")


def add_explain_parser(to: "argparse._SubParsersAction[Any]") -> None:
    """Add `explain` to the steps."""
    parser = to.add_parser(
        "explain",
        help="attention maps of trained models, per scan and region",
        description="Where in the brain the networks' judgement comes from: maps in MNI152 space, ranked regions, and "
        "whether maps depend on what was learnt. Needs the extra 'classification'.",
    )
    parser.add_argument("model", type=Path, metavar="MODELS/STRATEGY", help="folder of one strategy, of the step train")
    parser.add_argument("prepared", type=Path, metavar="PREPARED", help="folder of the step prepare")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to fill, or to go on with")
    parser.add_argument(
        "--methods",
        type=lambda text: [name.strip() for name in text.split(",")],
        metavar="A,B",
        help="some of gradcam, ig (integrated gradients), lrp (compact network only); default: all that fit",
    )
    parser.add_argument("--steps", type=int, default=32, metavar="N", help="of integrated gradients (default: 32)")
    parser.add_argument("--atlas", type=Path, help="label map in MNI space: a table of its regions too")
    parser.add_argument("--atlas-names", type=Path, metavar="CSV", help="columns label, name")
    parser.add_argument(
        "--randomised",
        type=int,
        default=3,
        metavar="N",
        help="scans that are explained with random weights too, five times the work (default: 3; 0: none)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (default: 0)")
    parser.add_argument(
        "--other-cohort",
        action="store_true",
        help="the scans are of other patients than those of the training, though names are alike",
    )
    parser.add_argument("--data-note", default="", metavar="TEXT", help="what the data are, such as simulated")
    parser.add_argument("--no-pictures", action="store_true", help="draw no mean maps")
    parser.add_argument("--device", default="cpu", help="of torch, such as cuda (default: cpu)")
    parser.set_defaults(action=run_explain)


def run_explain(arguments: argparse.Namespace) -> int:
    """Act on the arguments of `explain`; exit code 1 where a scan failed."""
    from nnunet_ms.progress import bar

    found = explain_cohort(
        arguments.model,
        arguments.prepared,
        arguments.output,
        methods=arguments.methods,
        steps=arguments.steps,
        atlas=arguments.atlas,
        atlas_names=arguments.atlas_names,
        randomised=arguments.randomised,
        seed=arguments.seed,
        other_cohort=arguments.other_cohort,
        data_note=arguments.data_note,
        pictures=not arguments.no_pictures,
        device=arguments.device,
        progress=bar,
    )
    print(*found.remarks, sep="\n")
    commands.report_failures(found.failures, PROGRAM)
    return commands.SOME_CASES_FAILED if found.failures else commands.OK
