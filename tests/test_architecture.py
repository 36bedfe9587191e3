"""The rules of the house, asserted from the syntax trees; `docs/architecture.md` draws them."""

import ast
import graphlib
import sys
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "nnunet_ms"
TESTS = Path(__file__).resolve().parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# The floor table: what each part of the package may import, besides itself and the standard library's and others' code.
# Ground floor, from the bottom up. A room may use all of it.
GROUND = {
    "errors": set(),
    "versions": set(),
    "arrays": set(),
    "memory": set(),
    "threads": set(),
    "meaning": set(),
    "vocabulary_of_adam": {"meaning"},
    "vocabulary_of_groups": {"meaning"},
    "vocabulary_of_curves": {"meaning"},
    "vocabulary_of_conversion": {"meaning"},
    "vocabulary_of_rims": {"meaning"},
    "vocabulary_of_scans": {"meaning"},
    "vocabulary_of_stratification": {"meaning"},
    "vocabulary_of_progression": {"meaning"},
    "vocabulary": {
        *("meaning", "vocabulary_of_adam", "vocabulary_of_conversion", "vocabulary_of_curves", "vocabulary_of_groups"),
        *("vocabulary_of_rims", "vocabulary_of_scans", "vocabulary_of_stratification", "vocabulary_of_progression"),
    },
    "options": {"errors"},
    "nnunet": {"errors"},
    "exchange": set(),
    "locks": {"errors"},
    "plain_names": {"errors"},
    "interrupts": set(),
    "outputs": {"errors", "exchange", "interrupts", "locks"},
    "processes": {"interrupts", "memory", "threads"},
    "cluster": {"errors", "interrupts", "memory"},
    "parallel": {"cluster", "errors", "processes"},
    "dates": {"options"},
    "disability": {"arrays", "options"},
    "table_files": {"errors"},
    "table_columns": {"arrays", "dates", "errors", "table_files"},
    "tables": {
        "dates",
        "errors",
        "options",
        "outputs",
        "parallel",
        "table_columns",
        "table_files",
        "meaning",
        "vocabulary",
    },
    "cases_table": {"errors", "tables"},
    "checkpoints": {"errors", "outputs"},
    "progress": set(),
    "programs": set(),
    "streams": set(),
    "commands": {"errors", "memory", "options", "parallel", "streams", "versions"},
    "images": {"arrays", "errors", "options", "outputs"},
    "statistics": {"arrays", "errors", "options"},
    "synthesis": {"arrays", "errors", "images", "options"},
    "lesions": {"arrays", "cases_table", "errors", "images", "options", "parallel", "tables"},
    "plotting": {"arrays", "errors", "images", "options", "outputs", "statistics"},
}
# Rooms: each part lists the parts of its own room that it may use. What is not listed as a part is a file of the room
# that may use all parts; no part may use it.
ROOMS = {
    "analysis": {
        "concordance_table": set(),
        "trial": set(),
        "endpoints": {"trial", "concordance_table"},
        "report": {"endpoints", "trial"},
        "evaluation": {"concordance_table"},
        "run_trial": {"report", "endpoints", "trial"},
    },
    "dataset_conversion": {
        "cases": set(),
        "steps": set(),
        "links": {"cases"},
        "sources": {"cases", "links", "rim_masks"},
        "rim_masks": {"cases"},
        "labels": {"cases", "rim_masks"},
        "resume_notes": {"cases"},
        "checks": {"cases", "labels", "resume_notes", "rim_masks", "steps"},
        "preparation": {"cases", "checks", "labels", "steps"},
        "pairs": {"cases", "sources"},
        "pair_ways": {"cases", "pairs", "preparation", "steps"},
        "pair_labels": {"cases", "labels", "pair_ways", "preparation"},
        "new_lesions": {"cases", "labels", "pair_labels", "pair_ways", "pairs", "preparation", "steps"},
        "raw_dataset": {
            *("cases", "checks", "labels", "new_lesions", "pairs", "preparation", "resume_notes", "steps"),
        },
    },
    "classification": {
        "named_tables": set(),
        "patient_folds": set(),
        "step_folder": set(),
        "torch_runs": set(),
        "rim": {"named_tables", "patient_folds", "step_folder", "torch_runs"},
        "stratification": {"named_tables", "patient_folds", "step_folder", "torch_runs"},
    },
    "simulation": {
        "model": set(),
        "truth": {"model"},
        "images": {"model"},
    },
    "trainers": {
        "networks": set(),
        "losses": set(),
        "channels": set(),
        "normalization": set(),
        "allowed_names": set(),
        "packages": set(),
        "prediction": {"networks", "channels", "allowed_names", "packages"},
    },
}
OUTSIDE = {
    "doors": {"commands", "errors", "nnunet", "trainers"},
    "comparison": {*GROUND, "analysis"},  # stands above the room whose results it lays side by side
    "segmentation": {
        *GROUND,
        "analysis",
        "dataset_conversion",
        "trainers",
    },  # from a scan to a table: drives three rooms
    "shipped": set(),  # weights and their card; found by its entry point, as other packages' models are
    "learning": set(GROUND),  # knows the rooms by their commands only
    "demo": set(GROUND),  # so does this
    "__main__": set(GROUND),  # and this
    "__init__": {
        *GROUND,
        *ROOMS,
        "comparison",
        "learning",
        "segmentation",
    },  # the front door: names for type checkers, looked up at their first use
}
OF_ALL = {"doors.classes"}  # a table of names that imports nothing: a room may read it too, and what stands above rooms
STATISTICS_LIBRARIES = {"numpy", "scipy", "pandas", "statsmodels", "lifelines"}
# names that open, list or write files, in any library that statistics uses
FILES = {"open", "read_csv", "read_parquet", "to_csv", "to_parquet", "Path", "loadtxt", "savetxt", "load", "save"}
# pure mathematics and pure torch: callable with two small tensors, without nnU-Net and without files
PURE = ["trainers/networks/*.py", "trainers/losses.py"]
# what may be imported below the top of the file only, because `--help` must answer at once
HEAVY = {"cc3d", "lifelines", "matplotlib", "nibabel", "nilearn", "nnunetv2", "numpy", "pandas", "scipy", "statsmodels"}
HEAVY |= {"torch", "SimpleITK"}
COMMANDS = [PACKAGE / "demo.py", PACKAGE / "__main__.py"]  # besides those that are called `..._cli.py`
# modules without a test file of their name: where they are tested
TESTED_IN = {
    "trainers.prediction.platt": "trainers/prediction/test_volume_calibration.py",
    "trainers.prediction.views": "trainers/prediction/test_absent_sequences.py",
    "segmentation.bids_out": "segmentation/test_segment.py",
    "segmentation.visit_warnings": "segmentation/test_segment.py",
    "segmentation.pages": "segmentation/test_segment.py",
    "images.template_regions": "images/test_patient_regions.py",
    "images.brain_shape": "segmentation/test_scan_warnings.py",
    "images.tissue_levels": "segmentation/test_scan_warnings.py",
    "simulation.images.scan_sources": "simulation/images/test_scan_files.py",
    "segmentation.cli": "segmentation/test_segment.py",
    "segmentation.prepared_scans": "segmentation/test_segment.py",
    "synthesis.acquisition": "synthesis/test_scan.py",
    "synthesis.deformation": "synthesis/test_scan.py",
    "synthesis.fields": "synthesis/test_scan.py",
    "synthesis.label_maps": "synthesis/test_scan.py",
    "synthesis.lesion_masks": "synthesis/test_scan.py",
    "synthesis.look_alikes": "synthesis/test_scan.py",
    "synthesis.patches": "trainers/test_synthetic_patches.py",
    "synthesis.slices": "synthesis/test_scan.py",
    "synthesis.tissue_signals": "synthesis/test_scan.py",
    "segmentation.page_pictures": "segmentation/test_patient_page.py",
    "segmentation.page_words": "segmentation/test_patient_page.py",
    "segmentation.results": "segmentation/test_patient_page.py",
    "trainers.synthetic_sources": "trainers/test_any_sequence_synthetic.py",
    "trainers.any_sequence": "trainers/test_construction.py",
    "trainers.calibration_cases": "trainers/test_calibrate_volumes.py",
    "trainers.prediction.calibration_file": "trainers/prediction/test_volume_calibration.py",
    "trainers.check_models": "trainers/test_pack_model.py",
    "trainers.model_cli": "trainers/test_pack_model.py",
    "trainers.packages.archive": "trainers/test_pack_model.py",
    "trainers.packages.card": "trainers/test_pack_model.py",
    "trainers.packages.installed": "trainers/test_pack_model.py",
    "trainers.prediction.check_model": "trainers/test_pack_model.py",
    "disability.confirmed_progression": "analysis/trial/test_outcomes.py",
    "disability.composite_progression": "analysis/trial/test_composite_outcomes.py",
    "classification.rim.feature_intensity": "classification/rim/test_features.py",
    "classification.rim.feature_shape": "classification/rim/test_features.py",
    "classification.rim.feature_texture": "classification/rim/test_features.py",
    "classification.rim_cli": "classification/rim/test_dataset.py",
    "classification.step_folder": "classification/rim/test_dataset.py",
    "classification.stratify_cli": "classification/stratification/test_prepared_folder.py",
    "classification.stratification.brain_stem": "classification/stratification/test_preparation.py",
    "classification.stratification.fold_models": "classification/stratification/test_train_models.py",
    "classification.stratification.study_folds": "classification/stratification/test_train_models.py",
    "classification.stratification.explain_folds": "classification/stratification/test_explain_models.py",
    "classification.stratification.explain_outputs": "classification/stratification/test_explain_models.py",
    "classification.stratification.explain_scans": "classification/stratification/test_explain_models.py",
    "classification.stratification.overview": "classification/stratification/test_prepared_folder.py",
    "analysis.trial.report_settings": "analysis/report/test_documents.py",
    "analysis.concordance_table": "analysis/endpoints/test_rater_concordance.py",
    "classification.stratification.evaluation_figures": "classification/stratification/test_evaluation.py",
    "classification.stratification.evaluation_page": "classification/stratification/test_evaluation.py",
    "classification.stratification.evaluation_tables": "classification/stratification/test_evaluation.py",
    "classification.stratification.published": "classification/stratification/test_evaluation.py",
    "classification.rim.evaluation_figures": "classification/rim/test_evaluation.py",
    "classification.rim.evaluation_tables": "classification/rim/test_evaluation.py",
    "classification.rim.published": "classification/rim/test_evaluation.py",
    "comparison.forest": "comparison/test_effects.py",
    "analysis.endpoints_cli": "analysis/test_bad_input.py",
    "analysis.evaluate_cli": "analysis/evaluation/test_evaluate.py",
    "trainers.brain_leftovers": "trainers/test_scan_variety.py",
    "learning.cli": "learning/test_curve.py",
    "analysis.mask_options": "analysis/evaluation/test_measure.py",
    "analysis.measure_cli": "analysis/evaluation/test_measure.py",
    "analysis.evaluation.case_metrics": "analysis/evaluation/test_cohort_metrics.py",
    "analysis.evaluation.cohort_tables": "analysis/evaluation/test_evaluate.py",
    "analysis.evaluation.lesion_roc_figure": "analysis/evaluation/test_lesion_roc.py",
    "analysis.evaluation.measured_pictures": "analysis/evaluation/test_measure.py",
    "analysis.evaluation.patient_rows": "analysis/evaluation/test_evaluate.py",
    "analysis.evaluation.rater_cases": "analysis/evaluation/test_rater_matrix.py",
    "analysis.evaluation.rater_figures": "analysis/evaluation/test_rater_matrix.py",
    "analysis.evaluation.rater_page": "analysis/evaluation/test_rater_matrix.py",
    "analysis.evaluation.rater_masks": "analysis/evaluation/test_rater_matrix.py",
    "analysis.evaluation.rater_pairing": "analysis/evaluation/test_rater_matrix.py",
    "analysis.evaluation.rater_tables": "analysis/evaluation/test_rater_matrix.py",
    "analysis.evaluation.uncertainty_figures": "analysis/evaluation/test_uncertainty.py",
    "analysis.evaluation.uncertainty_tables": "analysis/evaluation/test_uncertainty.py",
    "analysis.evaluation.worst_case_pictures": "analysis/evaluation/test_worst_cases.py",
    "analysis.report.blocks.agreement": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.blocks.lesion_counts": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.blocks.multiplicity": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.blocks.patients": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.blocks.populations": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.blocks.progression_by_arm": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.blocks.progression_by_lesions": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.blocks.progression_by_rims": "analysis/endpoints/test_progression_by_rims.py",
    "analysis.report.blocks.progression_by_t1_volume": "analysis/endpoints/test_progression_by_t1_volume.py",
    "analysis.report.blocks.t2_volume": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.effect_names": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.figures.all_figures": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.figures.drawing": "analysis/report/figures/test_t2_volume_figures.py",
    "analysis.report.figures.patient_figures": "analysis/endpoints/test_disposition.py",
    "analysis.report.figures.rater_figures": "analysis/endpoints/test_rater_concordance.py",
    "analysis.report.notes": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.numbers": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.parts": "analysis/report/test_rtf.py",
    "analysis.report.render": "analysis/report/test_report.py",
    "analysis.run_trial": "analysis/report/test_report.py",
    "analysis.trial.settings_text": "analysis/trial/test_settings_init.py",
    "analysis.endpoints.progression_by_stratum": "analysis/endpoints/test_progression_by_disability_risk.py",
    "analysis.trial.risk_strata": "analysis/endpoints/test_progression_by_disability_risk.py",
    "analysis.trial.rim_counts": "analysis/endpoints/test_progression_by_rims.py",
    "analysis.trial.published": "analysis/report/blocks/test_all_blocks.py",
    "arrays": "statistics/test_linear_systems.py",
    "classification.rim.case_images": "classification/rim/test_lesion_boxes.py",
    "meaning": "test_vocabulary.py",
    "vocabulary_of_groups": "test_vocabulary.py",
    "vocabulary_of_adam": "test_vocabulary.py",
    "vocabulary_of_curves": "test_vocabulary.py",
    "vocabulary_of_conversion": "test_vocabulary.py",
    "vocabulary_of_rims": "test_vocabulary.py",
    "vocabulary_of_scans": "test_vocabulary.py",
    "vocabulary_of_stratification": "test_vocabulary.py",
    "vocabulary_of_progression": "test_vocabulary.py",
    "classification.stratification.survival_figures": "classification/stratification/test_survival_evaluation.py",
    "classification.stratification.survival_predictions": "classification/stratification/test_survival_models.py",
    "classification.stratification.survival_results": "classification/stratification/test_survival_evaluation.py",
    "learning.scoring": "learning/test_curve.py",
    "classification.rim.fold_models": "classification/rim/test_train_models.py",
    "dataset_conversion.raw_dataset.bids_derivative": "dataset_conversion/raw_dataset/test_write_back.py",
    "dataset_conversion.sources.annex": "dataset_conversion/sources/test_bids.py",
    "dataset_conversion.guess_cli": "dataset_conversion/test_guessing.py",
    "dataset_conversion.raw_dataset.existing": "dataset_conversion/test_gather.py",
    "dataset_conversion.pair_ways": "dataset_conversion/test_new_lesions.py",
    "dataset_conversion.pair_labels": "dataset_conversion/test_new_lesions.py",
    "dataset_conversion.pair_options": "dataset_conversion/test_new_lesions.py",
    "dataset_conversion.source_options": "dataset_conversion/test_gather.py",
    "dataset_conversion.sources.patterns": "dataset_conversion/sources/test_folder.py",
    "dataset_conversion.results": "dataset_conversion/test_convert.py",
    "dataset_conversion.told": "dataset_conversion/test_convert.py",
    "dataset_conversion.sources.isbi2015": "dataset_conversion/sources/test_archive.py",
    "dataset_conversion.sources.ms3seg": "dataset_conversion/sources/test_published.py",
    "dataset_conversion.sources.mslesseg": "dataset_conversion/sources/test_archive.py",
    "dataset_conversion.sources.msseg2016": "dataset_conversion/sources/test_archive.py",
    "dataset_conversion.sources.msseg2_2021": "dataset_conversion/sources/test_archive.py",
    "dataset_conversion.sources.open_ms": "dataset_conversion/sources/test_published.py",
    "dataset_conversion.sources.shifts": "dataset_conversion/sources/test_archive.py",
    "dataset_conversion.sources.wmh2017": "dataset_conversion/sources/test_archive.py",
    "doors.classes": "test_doors.py",
    "doors.normalization": "test_doors.py",
    "doors.planners": "test_doors.py",
    "doors.trainers": "test_doors.py",
    "errors": "test_commands.py",
    "images.appearance": "dataset_conversion/checks/test_plausibility.py",
    "images.mask_fit": "dataset_conversion/checks/test_plausibility.py",
    "dataset_conversion.checks.look": "dataset_conversion/checks/test_plausibility.py",
    "images.greedy": "dataset_conversion/test_new_lesions.py",
    "images.limits": "dataset_conversion/test_steps.py",
    "images.brain_mask": "dataset_conversion/test_preparation.py",
    "simulation.images.anatomy": "simulation/images/test_lesion_shapes.py",
    "simulation.images.brain_regions": "simulation/images/test_disability_files.py",
    "simulation.images.disability_scan": "simulation/images/test_disability_files.py",
    "simulation.images.files": "simulation/test_cli.py",
    "simulation.images.rim_mask": "simulation/images/test_lesion_tables.py",
    "simulation.images.lesion_fates": "simulation/images/test_susceptibility.py",
    "simulation.model.course": "simulation/images/test_phantom.py",
    "simulation.model.presets": "simulation/model/test_preset_check.py",
    "simulation.model.rim_presets": "simulation/images/test_rim_patient.py",
    "simulation.truth.population": "simulation/model/test_trial_presets.py",
    "simulation.truth.progression": "simulation/truth/test_rows.py",
    "statistics.frame_classification": "statistics/test_frames.py",
    "statistics.frame_arms": "statistics/test_frames.py",
    "statistics.frame_rows": "statistics/test_frames.py",
    "statistics.frame_survival": "statistics/test_frames.py",
    "trainers.label_counts": "trainers/test_rim.py",
    "trainers.matched_length": "trainers/test_new_lesions.py",
    "trainers.prediction.pair_pictures": "trainers/prediction/test_pairs.py",
    "trainers.safe_training": "trainers/test_multi_arm_t2.py",
    "trainers.prediction.case_measures": "trainers/prediction/test_export.py",
    "trainers.prediction.rim_pictures": "trainers/prediction/test_rim_tables.py",
    "trainers.prediction.image_prediction": "trainers/prediction/test_open_model.py",
}


def dotted(path):
    """`analysis.trial.data` for nnunet_ms/analysis/trial/data.py; a package is its folder."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


NAMES = {dotted(path) for path in MODULES}


def imports(path, *, top_level_only=False):
    """Full names of all modules that a file imports; of ours the module itself, not the name inside it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; imports are written in full"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full.removeprefix("nnunet_ms.") in NAMES else node.module


@cache
def ours(path):
    """The modules of this package that a file imports, without the package's name."""
    return {name.removeprefix("nnunet_ms.") for name in imports(path) if name.startswith("nnunet_ms.")}


def part_of(module):
    """Room and part of a module: ("analysis", "trial"); ("images", "") on the ground floor."""
    room, _, rest = module.partition(".")
    return room, rest.partition(".")[0] if room in ROOMS else ""


def label(path):
    return str(path.relative_to(PACKAGE))


def forbidden(path):
    """Imports of ours that the floor table does not allow."""
    room, part = part_of(dotted(path))
    for name in sorted(ours(path)):
        other, its_part = part_of(name)
        if room in ROOMS:
            within = other == room and (part not in ROOMS[room] or its_part in ROOMS[room][part] | {part})
            if within and (its_part in ROOMS[room] or part not in ROOMS[room]):
                continue
            if other in GROUND or name in OF_ALL:
                continue
        elif (name in OF_ALL and room in OUTSIDE) or other in {
            room,
            *GROUND.get(room, set()),
            *OUTSIDE.get(room, set()),
        }:
            continue
        yield name


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_a_file_imports_lower_floors_only(path):
    assert list(forbidden(path)) == []


def test_every_part_of_the_house_is_in_the_floor_table():
    inside = {dotted(path).split(".")[0] for path in MODULES} - {""}
    assert inside == {*GROUND, *ROOMS, *OUTSIDE}
    for room, parts in ROOMS.items():
        assert set(parts) <= {part_of(dotted(path))[1] for path in MODULES if dotted(path).startswith(room)}


def test_no_circle_over_all_imports_also_those_inside_functions():
    graph = {dotted(path): {name for name in ours(path) if name in NAMES} - {dotted(path)} for path in MODULES}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(graph)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("statistics/*.py")), ids=label)
def test_statistics_use_five_libraries_and_open_no_file(path):
    others = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names)
    assert others <= STATISTICS_LIBRARIES | {"nnunet_ms"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in called}
    assert names & FILES == set()


def test_every_library_of_the_statistics_computes_something():
    used = {name.split(".")[0] for path in PACKAGE.glob("statistics/*.py") for name in imports(path)}
    assert used >= STATISTICS_LIBRARIES


@pytest.mark.parametrize("path", [p for pattern in PURE for p in sorted(PACKAGE.glob(pattern))], ids=label)
def test_networks_and_losses_are_pure_torch(path):
    allowed = {"collections", "contextlib", "dataclasses", "typing", "torch", "nnunet_ms"}
    assert {name.split(".")[0] for name in imports(path)} <= allowed
    assert all(name.startswith("trainers.networks") or name == "options" for name in ours(path))


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=label)
def test_init_files_import_nothing(path):
    # what a lazy name needs costs nothing; what it stands for is imported when it is asked for (`import_module`)
    lazy = path in {PACKAGE / "__init__.py", PACKAGE / "statistics" / "__init__.py"}
    found = imports(path, top_level_only=lazy)  # they tell type checkers what their names are, see test_front_door
    assert {name.split(".")[0] for name in found} <= {"collections", "importlib", "sys", "types"}


@pytest.mark.parametrize("path", [p for p in MODULES if p.name.endswith("cli.py") or p in COMMANDS], ids=label)
def test_commands_parse_first_and_import_after(path):
    seen, queue = set(), [path]
    while queue:  # everything that importing the command imports
        here = queue.pop()
        for name in imports(here, top_level_only=True):
            top = name.split(".")[0]
            assert top not in HEAVY, f"{here} imports {name} at the top"
            target = PACKAGE.parent / (name.replace(".", "/") + ".py")
            if top == "nnunet_ms" and target not in seen and target.is_file():
                seen.add(target)
                queue.append(target)


def installed_commands():
    text = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    modules = {entry.partition(":")[0] for entry in tomllib.loads(text)["project"]["scripts"].values()}
    return sorted(PACKAGE.parent / (module.replace(".", "/") + ".py") for module in modules)


@pytest.mark.parametrize("path", installed_commands(), ids=label)
def test_a_command_started_as_a_module_runs_and_does_not_end_in_silence(path):
    last = ast.parse(path.read_text(encoding="utf-8")).body[-1]
    assert ast.unparse(last) == "if __name__ == '__main__':\n    raise SystemExit(main())"


def functions(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documentation = len((ast.get_docstring(node) or "").splitlines())
            yield node.name, node.end_lineno - node.lineno + 1 - documentation


def test_no_module_called_utils_none_over_455_lines_no_function_over_60():
    assert [p for p in MODULES if p.stem in {"utils", "helpers", "misc"}] == []
    assert {label(p): n for p in MODULES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 455} == {}
    assert [(label(p), name, n) for p in MODULES for name, n in functions(p) if n > 60] == []


def array_types(path):
    """Names of array types that a file gives at its top: name -> type as text."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and "NDArray[" in ast.unparse(node.value):
            yield node.targets[0].id, ast.unparse(node.value)


def test_names_of_array_types_stand_in_one_module():
    shared = dict(array_types(PACKAGE / "arrays.py"))
    others = [(label(p), *found) for p in MODULES if p != PACKAGE / "arrays.py" for found in array_types(p)]
    assert [found for found in others if found[1] in shared or found[2] in shared.values()] == []


def room_of(path):
    """The smallest room that a file is in: `analysis.trial`, or `analysis` for a file beside the parts."""
    room, part = part_of(dotted(path))
    return f"{room}.{part}" if part in ROOMS.get(room, {}) else room


def test_no_room_holds_more_than_35_percent_of_the_package():
    lines = defaultdict(int)
    for path in MODULES:
        lines[part_of(dotted(path))[0]] += len(path.read_text(encoding="utf-8").splitlines())
    assert max(lines.values()) < 0.35 * sum(lines.values()), dict(lines)


def code_lines(text):
    """(number, line) of each line of code, its spaces folded; without blanks, comments, imports and docstrings."""
    passed_over = set()
    for node in ast.walk(ast.parse(text)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, ast.Import | ast.ImportFrom):
            passed_over |= set(range(node.lineno, node.end_lineno + 1))
    for number, line in enumerate(text.splitlines(), 1):
        folded = " ".join(line.split())
        if folded and not folded.startswith("#") and number not in passed_over:
            yield number, folded


def written_twice(texts, rooms, length=6):
    """Runs of equal lines that stand in two rooms: the places where each begins, as "file:line"."""
    places = defaultdict(list)
    for name, text in texts.items():
        lines = list(code_lines(text))
        for i in range(len(lines) - length + 1):
            run = tuple(line for _, line in lines[i : i + length])
            places[run].append((rooms[name], f"{name}:{lines[i][0]}"))
    return [[place for _, place in found] for found in places.values() if len({room for room, _ in found}) > 1]


def test_no_run_of_six_equal_lines_in_two_rooms():
    texts = {label(path): path.read_text(encoding="utf-8") for path in MODULES}
    assert written_twice(texts, {label(path): room_of(path) for path in MODULES}) == []


def test_a_run_of_equal_lines_would_be_seen():
    # Six lines, in one of them with other spaces, a comment and a blank line between; five are none.
    run = ["a = 1", "b = 2", "if a:", "    b = 3", "c = 4", "d = 5"]
    one, other = "import os\n" + "\n".join(run), '"""Text."""\n' + "\n\n# why\n".join(run).replace("b = 2", "b  =  2")
    assert written_twice({"x": one, "y": other}, {"x": "lesions", "y": "images"}) == [["x:2", "y:2"]]
    assert written_twice({"x": one, "y": other}, {"x": "lesions", "y": "lesions"}) == []
    assert written_twice({"x": one, "y": "\n".join(run[1:])}, {"x": "lesions", "y": "images"}) == []


@pytest.mark.parametrize("path", [p for p in MODULES if p.stem not in {"__init__", "__main__"}], ids=label)
def test_every_module_has_a_test_file_of_its_name_or_a_line_that_says_where(path):
    own = TESTS.joinpath(*dotted(path).split(".")[:-1]) / f"test_{path.stem}.py"
    place = TESTED_IN.get(dotted(path))
    assert own.is_file() != (place is not None), f"expected {own} or a line in TESTED_IN, and not both"
    assert place is None or dotted(path) in reached(TESTS / place), f"{place} does not lead to it"


def reached(test):
    """Modules that a test file leads to: by its imports, and by the names that commands look up."""
    graph = {dotted(path): ours(path) for path in MODULES}
    sources = "dataset_conversion.sources."
    graph[f"{sources}all_sources"] |= {name for name in NAMES if name.startswith(sources)}
    seen, queue = set(), sorted(ours(test))
    if test.name == "test_doors.py":
        queue += [f"doors.{name}" for name in ("planners", "normalization", "trainers")]  # named in classes.py
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue += graph.get(name, ())
    return seen


def test_the_list_of_tested_elsewhere_names_modules_that_are_there():
    assert set(TESTED_IN) <= NAMES
