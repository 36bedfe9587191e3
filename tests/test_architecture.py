"""The rules of the house, asserted from the syntax trees; `docs/architecture.md` draws them."""

import ast
import graphlib
import sys
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
    "options": {"errors"},
    "nnunet": {"errors"},
    "outputs": {"errors"},
    "parallel": {"errors"},
    "vocabulary": set(),
    "tables": {"errors", "options", "outputs", "vocabulary"},
    "commands": {"errors", "options", "parallel", "versions"},
    "images": {"arrays", "errors", "options", "outputs"},
    "statistics": {"arrays", "errors", "options"},
    "lesions": {"arrays", "errors", "images", "options", "tables"},
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
        "sources": {"cases"},
        "labels": {"cases"},
        "resume_notes": {"cases"},
        "checks": {"cases", "labels", "resume_notes", "steps"},
        "preparation": {"cases", "checks", "labels", "steps"},
        "raw_dataset": {"cases", "checks", "labels", "preparation", "resume_notes", "steps"},
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
        "prediction": {"networks", "channels"},
    },
}
OUTSIDE = {
    "doors": {"commands", "errors", "nnunet", "trainers"},
    "demo": set(GROUND),  # knows the rooms by their commands only
    "__main__": set(GROUND),  # so does this
    "__init__": {*GROUND, *ROOMS},  # the front door: names for type checkers, looked up at their first use
}
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
    "analysis.concordance_table": "analysis/endpoints/test_rater_concordance.py",
    "analysis.endpoints.effect_agreement": "analysis/endpoints/test_treatment_effects.py",
    "analysis.endpoints.lesion_counts": "analysis/endpoints/test_recipe.py",
    "analysis.endpoints.population_effects": "analysis/trial/test_populations.py",
    "analysis.endpoints.progression_by_arm": "analysis/endpoints/test_treatment_effects.py",
    "analysis.endpoints.progression_by_t2_volume": "analysis/endpoints/test_recipe.py",
    "analysis.endpoints.progression_multivariable": "analysis/endpoints/test_treatment_effects.py",
    "analysis.endpoints.progression_subgroups": "analysis/endpoints/test_treatment_effects.py",
    "analysis.endpoints.statistic_rows": "analysis/endpoints/test_recipe.py",
    "analysis.endpoints.t2_volume": "analysis/endpoints/test_recipe.py",
    "analysis.endpoints.t2_volume_models": "analysis/trial/test_zero_volumes.py",
    "analysis.endpoints_cli": "analysis/test_bad_input.py",
    "analysis.evaluate_cli": "analysis/evaluation/test_evaluate.py",
    "analysis.evaluation.case_metrics": "analysis/evaluation/test_cohort_metrics.py",
    "analysis.evaluation.cohort_tables": "analysis/evaluation/test_evaluate.py",
    "analysis.evaluation.lesion_roc_figure": "analysis/evaluation/test_lesion_roc.py",
    "analysis.evaluation.patient_rows": "analysis/evaluation/test_evaluate.py",
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
    "analysis.report.blocks.progression_by_t1_volume": "analysis/endpoints/test_progression_by_t1_volume.py",
    "analysis.report.blocks.t2_volume": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.effect_names": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.figures.all_figures": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.figures.drawing": "analysis/report/figures/test_t2_volume_figures.py",
    "analysis.report.figures.patient_figures": "analysis/endpoints/test_disposition.py",
    "analysis.report.figures.rater_figures": "analysis/endpoints/test_rater_concordance.py",
    "analysis.report.figures.treatment_figures": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.notes": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.numbers": "analysis/report/blocks/test_all_blocks.py",
    "analysis.report.parts": "analysis/report/test_rtf.py",
    "analysis.report.render": "analysis/report/test_report.py",
    "analysis.run_trial": "analysis/report/test_report.py",
    "analysis.trial.adam_files": "analysis/trial/test_adam_tables.py",
    "analysis.trial.adam_settings": "analysis/trial/test_adam_tables.py",
    "analysis.trial.keys": "analysis/trial/test_zero_volumes.py",
    "analysis.trial.published": "analysis/report/blocks/test_all_blocks.py",
    "analysis.trial.settings_section": "analysis/trial/test_visit_windows.py",
    "arrays": "statistics/test_linear_systems.py",
    "dataset_conversion.cases": "dataset_conversion/test_cli.py",
    "dataset_conversion.checks.check": "dataset_conversion/test_cli.py",
    "dataset_conversion.checks.headers": "dataset_conversion/test_fuzz.py",
    "dataset_conversion.checks.misplaced_files": "dataset_conversion/test_fuzz.py",
    "dataset_conversion.dataset_cli": "dataset_conversion/test_cli.py",
    "dataset_conversion.preparation_options": "dataset_conversion/test_preparation.py",
    "dataset_conversion.raw_dataset.copying": "dataset_conversion/test_cli.py",
    "dataset_conversion.raw_dataset.fold_files": "dataset_conversion/test_cli.py",
    "dataset_conversion.raw_dataset.write": "dataset_conversion/test_cli.py",
    "dataset_conversion.raw_dataset.write_back": "dataset_conversion/test_cli.py",
    "dataset_conversion.resume_notes": "dataset_conversion/test_cli.py",
    "dataset_conversion.sources.isbi2015": "dataset_conversion/sources/test_archive.py",
    "dataset_conversion.sources.ms3seg": "dataset_conversion/sources/test_sources.py",
    "dataset_conversion.sources.mslesseg": "dataset_conversion/sources/test_archive.py",
    "dataset_conversion.sources.msseg2016": "dataset_conversion/sources/test_archive.py",
    "dataset_conversion.sources.msseg2_2021": "dataset_conversion/sources/test_archive.py",
    "dataset_conversion.sources.open_ms": "dataset_conversion/sources/test_sources.py",
    "dataset_conversion.sources.open_ms_longitudinal": "dataset_conversion/sources/test_archive.py",
    "dataset_conversion.sources.patient_folders": "dataset_conversion/sources/test_sources.py",
    "dataset_conversion.sources.shifts": "dataset_conversion/sources/test_archive.py",
    "dataset_conversion.sources.trial": "dataset_conversion/test_fuzz.py",
    "dataset_conversion.sources.wmh2017": "dataset_conversion/sources/test_archive.py",
    "doors.classes": "test_doors.py",
    "doors.normalization": "test_doors.py",
    "doors.planners": "test_doors.py",
    "doors.trainers": "test_doors.py",
    "errors": "test_commands.py",
    "images.bias_field": "dataset_conversion/test_preparation.py",
    "images.brain_mask": "dataset_conversion/test_preparation.py",
    "images.grids": "dataset_conversion/test_preparation.py",
    "images.itk": "dataset_conversion/test_preparation.py",
    "images.registration": "dataset_conversion/test_preparation.py",
    "images.resample": "dataset_conversion/test_cli.py",
    "plotting.style": "plotting/test_concordance.py",
    "trainers.prediction.case_measures": "trainers/prediction/test_export.py",
    "trainers.prediction.image_prediction": "trainers/prediction/test_open_model.py",
    "simulation.images.anatomy": "simulation/images/test_lesion_shapes.py",
    "simulation.images.files": "simulation/test_cli.py",
    "simulation.images.lesion_fates": "simulation/images/test_susceptibility.py",
    "simulation.model.cohort": "simulation/model/test_trial_presets.py",
    "simulation.model.course": "simulation/images/test_phantom.py",
    "simulation.model.presets": "simulation/model/test_preset_check.py",
    "simulation.model.streams": "simulation/images/test_phantom.py",
    "simulation.model.table_reader": "simulation/truth/test_rows.py",
    "simulation.truth.population": "simulation/model/test_trial_presets.py",
    "simulation.truth.progression": "simulation/truth/test_rows.py",
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
            if other in GROUND:
                continue
        elif other in {room, *GROUND.get(room, set()), *OUTSIDE.get(room, set())}:
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


@pytest.mark.parametrize("path", [p for pattern in PURE for p in sorted(PACKAGE.glob(pattern))], ids=label)
def test_networks_and_losses_are_pure_torch(path):
    allowed = {"collections", "contextlib", "dataclasses", "typing", "torch", "nnunet_ms"}
    assert {name.split(".")[0] for name in imports(path)} <= allowed
    assert all(name.startswith("trainers.networks") for name in ours(path))


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=label)
def test_init_files_import_nothing(path):
    assert list(imports(path, top_level_only=True)) == []
    if path != PACKAGE / "__init__.py":  # the front door names its rooms to type checkers, see test_front_door
        assert list(imports(path)) == []


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


def test_no_room_holds_more_than_35_percent_of_the_package():
    lines = defaultdict(int)
    for path in MODULES:
        room, part = part_of(dotted(path))
        lines[f"{room}.{part}" if part in ROOMS.get(room, {}) else room] += len(path.read_text("utf-8").splitlines())
    assert max(lines.values()) < 0.35 * sum(lines.values()), dict(lines)


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
