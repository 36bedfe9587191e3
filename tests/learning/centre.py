"""A centre with few labelled studies, and a stand-in for the commands that train, predict and evaluate."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from nnunet_ms.learning.plan import Plan

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
NAME = "Dataset816_Few"
PLANS, CONFIGURATION = "nnUNetPlansMS", "3d_fullres"

# writes what the commands would write, and a line per call: program, fold or name, source, GPU
STAND_IN = """
import json, os, pathlib, shutil, sys, time
here, program, *words = sys.argv[1:]
here = pathlib.Path(here)
value = lambda option: words[words.index(option) + 1]
def note(what):
    seen = [os.environ.get(name, "-") for name in ("NNUNET_MS_SOURCE", "CUDA_VISIBLE_DEVICES")]
    with open(here / "calls.txt", "a") as file:
        file.write(" ".join([program, what, *seen]) + "\\n")
if program == "nnUNetv2_train":
    trainer, fold = value("-tr"), words[2]
    note(f"{trainer} {fold}")
    while (here / "wait").exists():
        time.sleep(0.02)
    if (here / f"fail_{trainer}_{fold}").exists():
        sys.exit("CUDA out of luck")
    name = f"{trainer}__{value('-p')}__{words[1]}"
    folder = pathlib.Path(os.environ["nnUNet_results"]) / "Dataset816_Few" / name / f"fold_{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint_final.pth").touch()
elif program == "nnunet-ms-predict":
    note(value("--rater"))
    out = pathlib.Path(value("-o"))
    out.mkdir(parents=True, exist_ok=True)
    for image in pathlib.Path(value("-i")).iterdir():
        case = image.name.split("_0")[0]
        shutil.copy(here / "drawn" / value("--rater").split("_")[0] / f"{case}.nii.gz", out)
"""


def program(folder):
    """What `programs.executable` becomes: the stand-in."""
    script = folder / "stand_in.py"
    script.write_text(STAND_IN)

    def executable(command):
        return [sys.executable, "-S", str(script), str(folder), *command]

    return executable


@dataclass(frozen=True)
class StandInPlan(Plan):
    """A plan whose commands are the stand-in's, also in another process."""

    folder: Path = Path()

    def train(self, run):
        return self._instead(super().train(run))

    def predict(self, run, out):
        return self._instead(super().predict(run, out))

    def _instead(self, command):
        return (sys.executable, "-S", str(self.folder / "stand_in.py"), str(self.folder), *command)


def calls(folder, name="nnUNetv2_train"):
    path = folder / "calls.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[1:] for line in lines if line.startswith(name)]


def save(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), AFFINE), path)


def cyclic(subsets):
    count = len(subsets)
    return [
        {"train": sorted(c for back in range(1, k + 1) for c in subsets[(t - back) % count]), "val": subsets[t]}
        for k in range(1, count)
        for t in range(count)
    ]


def write_centre(folder: Path, subsets=3, each=2, empty=()):
    """Raw and preprocessed dataset: every study has two lesions, those in `empty` none. Returns the subsets."""
    raw, preprocessed = folder / "raw" / NAME, folder / "preprocessed" / NAME
    named = [[f"S{t * each + i:02d}" for i in range(each)] for t in range(subsets)]
    for case in (case for subset in named for case in subset):
        mask = np.zeros((10, 10, 8))
        if case not in empty:
            mask[1:3, 1:3, 1:3] = mask[6:9, 6:9, 4:6] = 1
        save(raw / "labelsTr" / f"{case}.nii.gz", mask)
        save(raw / "imagesTr" / f"{case}_0000.nii.gz", 100 * mask)
    described = {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "t2_lesions": 1},
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(described))
    rows = [
        {"case_id": c, "patient_id": f"P{c}", "visit": "base", "week": 0, "role": "train"} for s in named for c in s
    ]
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    (raw / "cases.csv").write_text("\n".join(lines) + "\n")
    (preprocessed / f"{PLANS}_{CONFIGURATION}").mkdir(parents=True)
    plans = {"configurations": {CONFIGURATION: {"data_identifier": f"{PLANS}_{CONFIGURATION}"}, "2d": {}}}
    (preprocessed / f"{PLANS}.json").write_text(json.dumps(plans))
    (preprocessed / "splits_final.json").write_text(json.dumps(cyclic(named)))
    torch.save({"weights of another disease": torch.zeros(3)}, folder / "source.pth")
    return named


def places(folder):
    return {"raw": folder / "raw", "preprocessed": folder / "preprocessed"}
