"""The model that comes with the package: found without a name, small, whole; its card says what was measured."""

import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import nnunet_ms as ms
from nnunet_ms import shipped
from nnunet_ms.segmentation.chosen_model import DEFAULT, choose_model
from nnunet_ms.trainers.check_models import check_hashes
from nnunet_ms.trainers.packages.installed import installed_models, model_path
from nnunet_ms.trainers.training_range import read_training_range

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"


@pytest.fixture(autouse=True)
def nothing_else_is_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("NNUNET_MS_MODELS", str(tmp_path / "models"))


@pytest.fixture
def folder() -> Path:
    return model_path(DEFAULT)


def test_it_is_found_as_models_of_other_packages_are(folder):
    point = next(one for one in entry_points(group="nnunet_ms.models") if one.name == DEFAULT)
    assert point.load() == shipped.FOLDER
    models, broken = installed_models()
    assert [(one.facts.name, one.source) for one in models if one.facts.name == DEFAULT] == [(DEFAULT, "nnunet-ms")]
    assert not broken
    assert folder.is_relative_to(shipped.FOLDER)


def test_it_weighs_less_than_three_megabytes():
    assert 1e6 < sum(path.stat().st_size for path in Path(shipped.FOLDER).rglob("*") if path.is_file()) < 3e6


def test_it_is_whole_and_says_what_it_takes(folder):
    facts = check_hashes(folder)
    assert (facts.licence, facts.folds) == ("CC-BY-4.0", ("0", "1", "2"))
    chosen = choose_model(None, "cpu")
    assert (chosen.sequences, chosen.needed) == (("flair", "t2", "t1"), ("flair", "t2"))
    assert chosen.is_oriented
    assert set(chosen.appearance) == {"flair", "t2", "t1"}
    known = read_training_range(folder)
    assert known is not None
    assert {name: one.cases for name, one in known.sequences.items()} == {"flair": 10, "t2": 8, "t1": 10}


def test_its_card_names_data_licences_and_limits(folder):
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for word in ("not a medical device", "MS3SEG", "open_ms", "SynthSeg", "CC-BY-4.0", "Apache-2.0", "10.1007/s12021-"):
        assert word in card
    assert "{" not in card
    assert "fill in" not in card


def test_it_passed_its_gate_and_the_card_says_by_how_much(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import shipped_model_pack as pack

    sys.modules.pop("shipped_model_pack")
    rivals = pd.read_csv(RESULTS / "shipped_model_rivals.csv", dtype={"case": str})
    measured = pack.gate(pack.read_scores(RESULTS / "shipped_model_segment.csv"), rivals)
    assert len(measured) == 5
    assert all(found >= asked for found, asked in measured.values()), measured
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for name, (found, asked) in measured.items():
        assert f"- {name}: {found:.3f} (asked for: {asked:.2f})" in card


@pytest.mark.parametrize("patient", ["ms3seg/107130", "open_ms_cross_sectional/patient26"])
def test_a_real_scan_without_any_setting(patient, shared_data, tmp_path):
    # two of its three networks know these patients: that it works is shown, not how well
    scans = {name: shared_data / patient / f"{file}.nii.gz" for name, file in (("flair", "FLAIR"), ("t1", "T1w"))}
    done = ms.segment(**scans, patient="P1", out=tmp_path / "out", samples=0, tta=False, device="cpu")
    assert done.failures == ()
    (mask,) = (tmp_path / "out" / "masks" / "flair").glob("*.nii.gz")
    found = np.asarray(nib.load(mask).dataobj) > 0
    true = np.asarray(nib.load(shared_data / patient / "lesion.nii.gz").dataobj) > 0
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.6
    assert re.search(rf"{DEFAULT}==\d+", " ".join(done.notes))
