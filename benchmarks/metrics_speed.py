"""Speed and memory of lesion metrics: against panoptica and lesion-metrics on the same cases in the same run.

The peers live in an environment of their own, given by `--peers PYTHON`, because they pin other versions:

    python -m venv peers && peers/bin/pip install panoptica==2.1.7 lesion-metrics==0.1.12 nibabel
    python benchmarks/metrics_speed.py cases --masks ../shared/data/open_ms_masks --peers peers/bin/python
    python benchmarks/metrics_speed.py cohort --visits 3030 --workers 2

`cases`: real masks at 1 mm and, resampled, at 1x1x3 mm. A reference is paired with the same mask grown, shrunk and
broken up by a fixed random field. Timed are wall and processor time, the best of `--repeats` (two of lesion-metrics) on
a warm cache:

- `evaluate`: the two masks are in memory. Ours, `all rows`: two rules, every row of lesions.csv (centroid, bounding
  box, Dice, distance to the other rater's nearest lesion), visits.csv, agreement and size bins. Ours, `rules only`: the
  lesions found and the metrics of the case under both rules. panoptica: its binary-MS configuration. lesion-metrics:
  six metrics. The peers make no table of lesions.
- `total`: the two files are read as well, ours with libdeflate, panoptica's by nibabel.
- `read`: nibabel reads the two files, plainly, and nothing else.

Means are over cases, ratios are of means. panoptica's numbers are compared with rule `panoptica_ms` on the way.

`cohort`: a simulated trial of 1x1x3 mm masks (no image, lesions as ellipsoids that grow, come and go), read and
evaluated by the command with two rules and the change between visits; wall time, and the largest resident memory of
the command and of its workers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

RULES = ("krishnan2023", "msseg2016")
PEER_NAMES = ("panoptica", "lesion-metrics")
DIFFERENT = 600  # visits with masks of their own: simulating them takes longer than evaluating them
SHAPE, SPACING = (180, 220, 60), (1.0, 1.0, 3.0)

PEERS = """
import json, sys, time, numpy as np, nibabel as nib
from pathlib import Path
import panoptica, lesion_metrics.metrics as lm
from panoptica import Panoptica_Evaluator
config = Path(panoptica.__file__).parent / "configs" / "panoptica_evaluator_binaryMS.yaml"
evaluator = Panoptica_Evaluator.load_from_config(str(config))
pairs, repeats, programs = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
def read(paths):
    return [np.asanyarray(nib.load(path).dataobj) for path in paths]
def with_panoptica(reference, prediction):
    result = evaluator.evaluate(prediction, reference, verbose=False, log_times=False)["ms"]
    return {"tp": int(result.tp), "fp": int(result.fp), "fn": int(result.fn), "rq": float(result.rq)}
def with_lesion_metrics(reference, prediction):
    names = ("dice", "ppv", "tpr", "lfdr", "ltpr", "avd")
    return {name: float(getattr(lm, name)(prediction, reference)) for name in names}
def best(function, repeats):
    times = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return [min(column) for column in zip(*times)]
out = []
for pair in pairs:
    masks = read(pair)
    row = {"panoptica_counts": with_panoptica(*masks)}
    if "lesion-metrics" in programs:
        row["lesion-metrics"] = {"evaluate": best(lambda: with_lesion_metrics(*masks), min(repeats, 2))}
    row["panoptica"] = {
        "evaluate": best(lambda: with_panoptica(*masks), repeats),
        "total": best(lambda: with_panoptica(*read(pair)), repeats),
    }
    out.append(row)
print(json.dumps(out))
"""
# what, our part, whose part it is compared with, and the bar: at least so many times faster, or at most so many times
# the time to read
COMPARISONS = (
    ("evaluate, all rows", ("ours", "evaluate, all rows"), ("panoptica", "evaluate"), 20.0),
    ("evaluate, all rows", ("ours", "evaluate, all rows"), ("lesion-metrics", "evaluate"), 40.0),
    ("evaluate, rules only", ("ours", "evaluate, rules only"), ("panoptica", "evaluate"), 20.0),
    ("evaluate, rules only", ("ours", "evaluate, rules only"), ("lesion-metrics", "evaluate"), 40.0),
    ("total, all rows", ("ours", "total, all rows"), ("panoptica", "total"), None),
    ("total, all rows", ("ours", "total, all rows"), ("nibabel", "read"), 1.6),
    ("total, rules only", ("ours", "total, rules only"), ("nibabel", "read"), 1.6),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two benchmarks, print and store its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cases", "cohort"])
    parser.add_argument("--masks", type=Path, default=Path("../shared/data/open_ms_masks"))
    parser.add_argument("--peers", type=Path, help="Python that has panoptica and lesion-metrics")
    parser.add_argument("--programs", nargs="*", default=["panoptica", "lesion-metrics"], help="lesion-metrics is slow")
    parser.add_argument("--patients", type=int, default=6, help="real masks used (%(default)s)")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--visits", type=int, default=3030)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args(argv)
    table = cases(args) if args.what == "cases" else cohort(args)
    args.results.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.results / f"metrics_speed_{args.what}.csv", index=False, float_format="%.4g")
    print(table.to_string(index=False, float_format="{:.4g}".format))
    return 0


def cases(args: argparse.Namespace) -> pd.DataFrame:
    """Ours against the others, by resolution; the times of every case go to a table of their own."""
    rows, same = [], []
    with tempfile.TemporaryDirectory() as folder:
        for thickness in (1, 3):
            pairs = [
                pair(path, Path(folder), thickness) for path in sorted(args.masks.glob("*.nii.gz"))[: args.patients]
            ]
            for names, peer in zip(pairs, _peers(args, pairs), strict=True):
                where = {"case": Path(names[0]).name.split("_")[2], "slice_mm": thickness}
                rows += [{**where, **row} for row in _case_rows(names, args.repeats, peer)]
                if "panoptica_counts" in peer:
                    same.append(_as_panoptica(names) == {k: peer["panoptica_counts"][k] for k in ("tp", "fp", "fn")})
    times = pd.DataFrame(rows)
    args.results.mkdir(parents=True, exist_ok=True)
    times.to_csv(args.results / "metrics_speed_times.csv", index=False, float_format="%.4g")
    print(f"panoptica_ms: the same lesions as panoptica in {sum(same)} of {len(same)} cases")
    return pd.concat([_ratios(group, thickness) for thickness, group in times.groupby("slice_mm")], ignore_index=True)


def _ratios(times: pd.DataFrame, thickness: object) -> pd.DataFrame:
    means = times.groupby(["program", "part"])[["wall_s", "processor_s"]].mean()
    rows = []
    for what, ours, theirs, bar in COMPARISONS:
        if theirs not in means.index:
            continue
        upside_down = theirs[0] == "nibabel"
        row: dict[str, object] = {"slice_mm": thickness, "ours": what, "against": ": ".join(theirs)}
        for unit in ("wall", "processor"):
            one, other = means.loc[ours, f"{unit}_s"], means.loc[theirs, f"{unit}_s"]
            row |= {f"ours_{unit}_ms": 1000 * one, f"their_{unit}_ms": 1000 * other}
            row[f"{unit}_ratio"] = one / other if upside_down else other / one
        rows.append({**row, "bar": bar, "bar_is": "at most" if upside_down else "at least" if bar else ""})
    return pd.DataFrame(rows)


def pair(path: Path, folder: Path, thickness: int) -> tuple[str, str]:
    """Write a reference and a plausible prediction for it; return their paths."""
    image = nib.load(path)
    mask = np.asanyarray(image.dataobj)[:, :, ::thickness] > 0
    affine = image.affine @ np.diag([1, 1, thickness, 1])
    generator = np.random.default_rng(len(path.name) + thickness)
    field = ndimage.gaussian_filter(generator.standard_normal(mask.shape), 2.0)
    distance = np.where(mask, 1.0, -1.0) * 0.5 + ndimage.gaussian_filter(mask.astype(float), 1.0)
    prediction = distance + 0.8 * field / field.std() * ndimage.binary_dilation(mask, iterations=3) > 0.5
    names = []
    for name, data in (("reference", mask), ("prediction", prediction)):
        target = folder / f"{name}_{thickness}_{path.name}"
        nib.save(nib.Nifti1Image(data.astype(np.uint8), affine), target)
        names.append(str(target))
    return names[0], names[1]


def _peers(args: argparse.Namespace, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    if args.peers is None:
        return [{} for _ in pairs]
    command = [str(args.peers), "-c", PEERS, json.dumps(pairs), str(args.repeats), *args.programs]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def _case_rows(names: tuple[str, str], repeats: int, peer: dict[str, Any]) -> list[dict[str, object]]:
    from nnunet_ms.analysis.evaluation.case_masks import Extras, read_case
    from nnunet_ms.analysis.evaluation.case_metrics import case_metrics
    from nnunet_ms.analysis.evaluation.matching import match_by_rules
    from nnunet_ms.analysis.evaluation.pairing import CaseFiles
    from nnunet_ms.analysis.evaluation.patient_rows import PatientRows, Settings, add_case, evaluate_patient
    from nnunet_ms.analysis.evaluation.rules import rules_by_name
    from nnunet_ms.images.volumes import Volume, read_mask
    from nnunet_ms.memory import keep_freed_memory

    keep_freed_memory()  # as the command and its workers do
    files = CaseFiles("case", Path(names[0]), {"model": Path(names[1])}, "patient")
    settings, rules = Settings(rules=RULES), rules_by_name(RULES)
    case = read_case(files, settings.labels, Extras())

    def read() -> list[Volume]:
        return [read_mask(Path(name)) for name in names]

    def metrics(masks: list[Volume]) -> object:
        matches = match_by_rules(masks[0], masks[1], rules)
        return [case_metrics(match, rule) for match, rule in zip(matches, rules, strict=True)]

    in_memory = read()

    parts: dict[tuple[str, str], Callable[[], object]] = {
        ("nibabel", "read"): lambda: [np.asanyarray(nib.load(name).dataobj) for name in names],
        ("ours", "evaluate, rules only"): lambda: metrics(in_memory),
        ("ours", "evaluate, all rows"): lambda: add_case(PatientRows(), files, case, None, settings),
        ("ours", "total, rules only"): lambda: metrics(read()),
        ("ours", "total, all rows"): lambda: evaluate_patient([files], settings),
    }
    times = {key: _best(function, repeats) for key, function in parts.items()}
    times |= {(name, part): peer[name][part] for name in PEER_NAMES if name in peer for part in peer[name]}
    return [
        {"program": program, "part": part, "wall_s": wall, "processor_s": processor}
        for (program, part), (wall, processor) in times.items()
    ]


def _as_panoptica(names: tuple[str, str]) -> dict[str, int]:
    """Counts of instances by our rule, in panoptica's names."""
    from nnunet_ms.analysis.evaluation.matching import match_masks
    from nnunet_ms.analysis.evaluation.rules import RULES as ALL
    from nnunet_ms.images.volumes import read_mask

    reference, prediction = (read_mask(Path(name)) for name in names)
    match = match_masks(reference, prediction, ALL["panoptica_ms"])
    found = int(match.reference_found.sum())
    return {"tp": found, "fp": match.prediction.count - found, "fn": match.reference.count - found}


def _best(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Shortest wall and processor time."""
    times = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(wall for wall, _ in times), min(processor for _, processor in times)


def cohort(args: argparse.Namespace) -> pd.DataFrame:
    """Wall time and memory of the whole command on a tenth of the visits, on a third, and on all of them."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = 0
        for visits in (args.visits // 10, args.visits // 3, args.visits):
            write_visits(folder, made, visits)
            made = visits
            rows.append(_run_cohort(folder, visits, args.workers))
    return pd.DataFrame(rows)


def write_visits(folder: Path, start: int, stop: int, per_patient: int = 5) -> None:
    """Write the masks of visits `start` to `stop` and the table of cases up to `stop`; later ones repeat the first."""
    kinds = ("references", "predictions")
    for kind in kinds:
        (folder / kind).mkdir(exist_ok=True)
    for number in range(start, min(stop, DIFFERENT)):
        masks = simulated_masks(number // per_patient, number % per_patient)
        for kind, data in zip(kinds, masks, strict=True):
            image = nib.Nifti1Image(data.astype(np.uint8), np.diag([*SPACING, 1.0]))
            nib.save(image, folder / kind / f"V{number:05d}.nii.gz")
    for kind, number in product(kinds, range(max(start, DIFFERENT), stop)):
        twin = folder / kind / f"V{number:05d}.nii.gz"
        twin.hardlink_to(folder / kind / f"V{number % DIFFERENT:05d}.nii.gz")
    rows = [
        (f"V{n:05d}", f"P{n // per_patient:04d}", f"week {24 * (n % per_patient)}", 24.0 * (n % per_patient), "test")
        for n in range(stop)
    ]
    pd.DataFrame(rows, columns=["case_id", "patient_id", "visit", "week", "role"]).to_csv(
        folder / "cases.csv", index=False
    )


def simulated_masks(patient: int, visit: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Ellipsoids, about 50 per patient, some from a later visit on, growing by visit; the prediction misses some."""
    generator = np.random.default_rng(patient)
    count = int(generator.integers(20, 80))
    centres = generator.uniform([40, 40, 12], [140, 180, 48], size=(count, 3))
    radii = generator.gamma(2.5, 1.3, size=count) + 1
    starts = generator.choice([0, 0, 0, 0, 1, 2, 3], size=count)
    missed = generator.uniform(size=count) < 0.15
    reference, prediction = (np.zeros(SHAPE, dtype=np.bool_) for _ in range(2))
    for centre, radius, first, is_missed in zip(centres, radii, starts, missed, strict=True):
        if first > visit:
            continue
        grown = radius * (1 + 0.02 * visit)
        _add_ball(reference, centre, grown)
        if not is_missed:
            _add_ball(prediction, centre + 0.5, 0.95 * grown)
    return reference, prediction


def _add_ball(mask: npt.NDArray[np.bool_], centre: npt.NDArray[np.float64], radius: float) -> None:
    reach = np.ceil(radius / np.array(SPACING)).astype(int)
    low = np.floor(centre).astype(int) - reach
    box = tuple(slice(a, a + 2 * r + 2) for a, r in zip(low, reach, strict=True))
    index = np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij")
    square = sum(((i - c) * s) ** 2 for i, c, s in zip(index, centre, SPACING, strict=True))
    mask[box] |= np.asarray(square <= radius**2)


def _run_cohort(folder: Path, visits: int, workers: int) -> dict[str, object]:
    code = "import sys; from nnunet_ms.analysis.evaluate_cli import main; sys.exit(main(sys.argv[1:]))"
    options = ["--predictions", "predictions", "--references", "references", "--cases", "cases.csv"]
    options += ["--rules", ",".join(RULES), "--workers", str(workers), "-o", "out"]
    measured = (
        f"import resource, subprocess, sys; r = subprocess.run([sys.executable, '-c', {code!r}, *{options!r}], "
        "stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); "
        "print(sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])); sys.exit(r.returncode)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", measured], cwd=folder, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    memory, processor = (float(line) for line in done.stdout.split())
    lesions = sum(1 for _ in (folder / "out" / "lesions.csv").open()) - 1
    return {
        "visits": visits,
        "workers": workers,
        "lesion_rows": lesions,
        "wall_s": seconds,
        "processor_s": processor,
        "processor_ms_per_visit": 1000 * processor / visits,
        "largest_process_gb": memory * _RSS_UNIT / 1e9,
    }


_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there, KiB on Linux


if __name__ == "__main__":
    sys.exit(main())
