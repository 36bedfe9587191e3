"""Which model segments: packed, installed, altered, of other channels, none."""

import re
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nnunet_ms.errors import ConversionError, ModelError, SettingsError
from nnunet_ms.segmentation.chosen_model import choose_model, samples_of
from nnunet_ms.trainers.model_cli import main
from nnunet_ms.trainers.pack_model import draft_model_card, install_model, pack_model
from nnunet_ms.trainers.packages.archive import opened_archive
from nnunet_ms.trainers.packages.installed import installed_models
from tests.trainers.tiny_model import DATASET_JSON, write_results


@pytest.fixture(scope="module")
def packed(any_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    text = draft_model_card(any_folder, name="any", licence="CC0-1.0")
    (folder / "CARD.md").write_text(re.sub("<fill in[^>]*>", "Random numbers.", text))
    return pack_model(any_folder, folder, name="any", licence="CC0-1.0", card=folder / "CARD.md").path


def test_a_folder_a_file_and_a_name_are_one_model(any_folder, packed, tmp_path, monkeypatch):
    monkeypatch.setenv("NNUNET_MS_MODELS", str(tmp_path / "models"))
    install_model(packed)
    by = {one: choose_model(one, "cpu") for one in (any_folder, packed, "any")}
    assert {one.sequences for one in by.values()} == {("t1", "flair", "t2")}
    assert {one.needed for one in by.values()} == {("flair", "t2")}
    assert [one.reference for one in by.values()] == [any_folder.name, "any==1", "any==1"]
    weights = [next(iter(one.model.weights[0].values())) for one in by.values()]
    assert all((one == weights[0]).all() for one in weights)


def test_a_package_may_bring_a_packed_file(packed, tmp_path, monkeypatch, capsys):
    point = SimpleNamespace(name="any", value="x:y", dist=SimpleNamespace(name="a-package"), load=lambda: str(packed))
    monkeypatch.setenv("NNUNET_MS_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("nnunet_ms.trainers.packages.installed.entry_points", lambda group: [point])
    (found,), broken = installed_models()
    assert (found.facts.reference, found.source, broken) == ("any==1", "a-package", [])
    assert "Random numbers." in found.card
    assert choose_model("any", "cpu").reference == "any==1"
    monkeypatch.setattr("nnunet_ms.segmentation.chosen_model.DEFAULT", "any")
    assert choose_model(None, "cpu").sequences == ("t1", "flair", "t2")
    assert main(["show", "any"]) == 0
    assert "Random numbers." in capsys.readouterr().out


def test_an_altered_packed_file_is_refused(packed, tmp_path):
    altered = tmp_path / "any.model.zip"
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(altered, "w") as to:
        for entry in source.infolist():
            data = source.read(entry)
            to.writestr(entry.filename, data[:-1] + b"x" if entry.filename.endswith("plans.json") else data)
    with pytest.raises(ModelError, match=r"any\.model\.zip: plans\.json: expected SHA-256 \w+, found \w+"):
        choose_model(altered, "cpu")


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"])
def test_an_altered_file_of_an_installed_model_is_refused(name, packed, tmp_path, monkeypatch):
    monkeypatch.setenv("NNUNET_MS_MODELS", str(tmp_path / "models"))
    with opened_archive(packed) as archive:  # as `install_model` does, without its pass of the network
        path = archive.unpack(tmp_path / "models" / "any" / "1") / name
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match=rf"{name}: expected SHA-256 .*Install the model again"):
        choose_model("any", "cpu")


@pytest.mark.parametrize(
    "names", [{"0": "qsm"}, {"0": "flair", "1": "CT"}, {"0": "flair_baseline"}], ids=lambda one: "-".join(one.values())
)
def test_a_model_of_other_channels_is_refused(names, tmp_path):
    dataset = {**DATASET_JSON, "channel_names": names}
    folder = write_results(tmp_path, folds=(0,), trainer_name="nnUNetTrainerMSPlainTiny", dataset_json=dataset)
    with pytest.raises(
        ModelError, match=r"expected a model of flair, t2, t1, t1post.*found channels.*nnunet-ms-predict"
    ):
        choose_model(folder, "cpu")


def test_what_a_scan_lacks_is_told(any_folder, tmp_path):
    chosen = choose_model(any_folder, "cpu")
    for there in (("flair",), ("t2", "t1")):
        chosen.check_scan("P1", there)
    with pytest.raises(ConversionError, match=r"P1: expected flair or t2 .*found t1\. Add it"):
        chosen.check_scan("P1", ("t1",))


def test_a_model_that_cannot_sample_says_so(any_folder, tmp_path):
    chosen = choose_model(any_folder, "cpu")
    count, note = samples_of(chosen, 5)
    assert (count == 0) == bool(note)
    assert samples_of(chosen, 0) == (0, "")


@pytest.mark.parametrize(("name", "value"), [("samples", -1), ("threshold", 2.0), ("threshold", float("nan"))])
def test_a_number_outside_its_range_is_refused_before_scans_are_prepared(name, value, any_folder):
    with pytest.raises(SettingsError, match=f"{name}: expected .*, found {value}. Correct it"):
        samples_of(choose_model(any_folder, "cpu"), **{"samples": 0, name: value})


def test_the_model_that_is_taken_by_default_says_whether_it_is_absent_or_damaged(packed, tmp_path, monkeypatch):
    monkeypatch.setenv("NNUNET_MS_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("nnunet_ms.trainers.packages.installed.entry_points", lambda group: [])
    with opened_archive(packed) as archive:
        folder = archive.unpack(tmp_path / "models" / "any" / "1")
    with pytest.raises(
        ModelError, match=r"ms-any-small to be installed.*found any==1\. Choose one of them.*--model NAME"
    ):
        choose_model(None, "cpu")
    monkeypatch.setattr("nnunet_ms.segmentation.chosen_model.DEFAULT", "any")
    (folder / "plans.json").chmod(0o644)
    (folder / "plans.json").write_text("{}")
    with pytest.raises(ModelError, match=r"plans\.json: expected SHA-256"):
        choose_model(None, "cpu")
    (folder / "model.json").chmod(0o644)
    (folder / "model.json").write_text("{")
    with pytest.raises(ModelError, match=r"found none\. Get one .*What cannot be read: .*model"):
        choose_model(None, "cpu")


@pytest.mark.parametrize("found", [[1], "flair", 3, None, {"flair": 1}])
def test_what_nobody_noted_properly_of_the_training_is_not_known(found, any_folder):
    chosen = choose_model(any_folder, "cpu")
    model = replace(chosen.model, dataset_json={**chosen.model.dataset_json, "appearance": found})
    assert replace(chosen, opened=replace(chosen.opened, model=model)).appearance == {}
