"""Seconds and memory of the radiomic features of a lesion: against fastrad and PyRadiomics in the same run.

    python benchmarks/rim_features_speed.py                             # fastrad, of the development requirements
    python benchmarks/rim_features_speed.py --pyradiomics peer/bin/python   # and PyRadiomics 3.0.1, see below

PyRadiomics needs an environment of its own and a C compiler: `pip install numpy versioneer "setuptools<80"`, then
`pip install --no-build-isolation pyradiomics==3.0.1`.

Lesions are balls with a rim in noise: of 32 to 9,114 voxels, and one of 44,472. Every program gets the same box (8
voxels around the lesion) in memory and makes the same nine images; fastrad has no wavelets and gets those of
PyWavelets. Each runs in a process of its own on one thread: processor seconds, the best of `--repeats`; largest
resident memory above that before the first lesion. Values are compared on the way: a feature counts as equal within
0.001, relative above 1.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
RADII = {
    "small": (2.1, 2.1, 2.1),
    "typical": (4, 4, 4.5),
    "large": (8, 7, 8),
    "huge": (14, 12, 13),
    "45 k": (22, 22, 22),
}
LIMIT_S = 1.5
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

MEASURE = """
import json, resource, sys, time
import numpy as np
box, repeats = np.load(sys.argv[1]), int(sys.argv[2])
qsm, mask = box["qsm"], box["mask"]
features(*(np.load(sys.argv[3])[name] for name in ("qsm", "mask")))
before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
for _ in range(repeats):
    start = time.process_time()
    found = features(qsm, mask)
    times.append(time.process_time() - start)
megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps({"seconds": min(times), "megabytes": megabytes, "features": found}))
"""
OURS = """
from nnunet_ms.classification.rim.features import rim_features
def features(qsm, mask):
    return rim_features(qsm, mask, (1.0, 1.0, 1.0))
"""
FASTRAD = """
import fastrad, numpy, pywt, torch
torch.set_num_threads(1)
settings = dict(bin_width=25.0, device="cpu", spacing=(1.0, 1.0, 1.0))
textures = fastrad.FeatureExtractor(fastrad.FeatureSettings(["firstorder", "glcm", "glrlm"], **settings))
shape = fastrad.FeatureExtractor(fastrad.FeatureSettings(["shape"], **settings))
def features(qsm, mask):
    array = numpy.ascontiguousarray(qsm.transpose(2, 1, 0))
    inside = fastrad.Mask(torch.from_numpy(numpy.ascontiguousarray(mask.transpose(2, 1, 0)).astype("float32")))
    even = numpy.pad(array, [(0, n % 2) for n in array.shape], "wrap")
    bands = pywt.swtn(even, "coif1", level=1, start_level=0, axes=(2, 1, 0))[0]
    images = {"original": array}
    for key, band in bands.items():
        name = "wavelet-" + key.replace("a", "L").replace("d", "H")
        images[name] = numpy.ascontiguousarray(band[tuple(map(slice, array.shape))])
    of_mask = shape.extract(fastrad.MedicalImage(torch.from_numpy(array)), inside)
    found = {f"original_{key}": value for key, value in of_mask.items()}
    for name, image in images.items():
        of_image = textures.extract(fastrad.MedicalImage(torch.from_numpy(image)), inside)
        found.update({f"{name}_{key}": value for key, value in of_image.items()})
    return found
"""
PYRADIOMICS = """
import logging, SimpleITK
from radiomics import featureextractor
logging.getLogger("radiomics").setLevel(logging.ERROR)
SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
extractor = featureextractor.RadiomicsFeatureExtractor({
    "imageType": {"Original": {}, "Wavelet": {"wavelet": "coif1", "level": 1}},
    "featureClass": {"shape": None, "firstorder": None, "glcm": None, "glrlm": None},
    "setting": {"binWidth": 25, "label": 1},
})
def features(qsm, mask):
    images = [SimpleITK.GetImageFromArray(array.transpose(2, 1, 0)) for array in (qsm, mask.astype("uint8"))]
    return {k: float(v) for k, v in extractor.execute(*images).items() if not k.startswith("diagnostics")}
"""


def box(radii: tuple[float, float, float]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """QSM in ppb and mask of a ball with a rim, with 8 voxels around."""
    halves = [int(np.ceil(radius)) + 8 for radius in radii]
    places = np.meshgrid(*(np.arange(-half, half + 1) for half in halves), indexing="ij")
    distance = sum((place / radius) ** 2 for place, radius in zip(places, radii, strict=True))
    noise = np.random.default_rng(0).normal(0, 15, distance.shape)
    inside = distance <= 1
    inside[tuple(np.argwhere(inside)[0])] = False  # an even number of voxels, so that the median is between two
    return np.where(distance > 0.4, 80.0, 20.0) * inside + noise, inside


def measured(program: str, python: str, code: str, lesion: Path, first: Path, repeats: int) -> dict[str, Any]:
    """Seconds, megabytes and features of one program on one lesion."""
    words = [python, "-W", "ignore", "-c", code + MEASURE, str(lesion), str(repeats), str(first)]
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{program}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def plain(name: str) -> str:
    """A feature's name as both spell it."""
    words = name.replace("10th_percentile", "10percentile").replace("90th_percentile", "90percentile")
    return words.replace(":", "_").replace("_", "").lower()


def different(ours: dict[str, float], theirs: dict[str, float]) -> list[str]:
    """Features that differ by more than 0.001, relative above 1, or are not there."""
    by_name = {plain(name): value for name, value in theirs.items()}
    far = {name: abs(value - by_name.get(plain(name), np.nan)) for name, value in ours.items()}
    return [name for name, value in ours.items() if not far[name] <= 1e-3 * max(1.0, abs(value))]


def main() -> int:
    """Print a line per lesion and program; 1 if ours is slower than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyradiomics", metavar="PYTHON", help="interpreter of an environment that has it")
    parser.add_argument("--repeats", type=int, default=5, help="the best of so many (default: %(default)s)")
    arguments = parser.parse_args()
    programs = {"nnunet_ms": (sys.executable, OURS), "fastrad": (sys.executable, FASTRAD)}
    if arguments.pyradiomics:
        programs["pyradiomics"] = (arguments.pyradiomics, PYRADIOMICS)
    slowest = 0.0
    print(f"{'lesion':<9}{'voxels':>7}  {'program':<12}{'seconds':>8}{'ratio':>7}{'MB':>7}  differ  of 527")
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first.npz"
        for name, radii in RADII.items():
            qsm, mask = box(radii)
            lesion = Path(folder) / f"{name}.npz"
            np.savez(lesion, qsm=qsm, mask=mask)
            if name == "small":
                first = lesion
            ours: dict[str, Any] = {}
            for program, (python, code) in programs.items():
                found = measured(program, python, code, lesion, first, arguments.repeats)
                ours = ours or found
                apart = different(ours["features"], found["features"])
                ratio = found["seconds"] / ours["seconds"]
                families = sorted({"_".join(one.split("_")[1:]) for one in apart})
                print(
                    f"{name:<9}{mask.sum():>7}  {program:<12}{found['seconds']:>8.3f}{ratio:>7.1f}"
                    f"{found['megabytes']:>7.0f}  {len(apart)} {', '.join(families)[:200]}",
                    flush=True,
                )
            slowest = max(slowest, ours["seconds"])
    print(f"ours: at most {slowest:.2f} s of one core; limit {LIMIT_S} s")
    return int(slowest > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
