"""Packing, installing and using models, with nnU-Net's own installer as the second reader of our files."""

import json
import re
import shutil
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunet_ms.errors import ModelError, SettingsError
from nnunet_ms.trainers.check_models import check_model
from nnunet_ms.trainers.model_cli import main
from nnunet_ms.trainers.pack_model import draft_model_card, install_model, pack_model
from nnunet_ms.trainers.packages.archive import opened_archive
from nnunet_ms.trainers.packages.card import CARD, FACTS
from nnunet_ms.trainers.packages.installed import find_model, installed_models
from nnunet_ms.trainers.prediction.open_model import open_model
from nnunet_ms.trainers.prediction.predict import predict


@pytest.fixture(scope="module")
def card(model_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("card") / "CARD.md"
    path.write_text(
        re.sub("<fill in[^>]*>", "Random numbers.", draft_model_card(model_folder, name="random", licence="CC0-1.0"))
    )
    return path


@pytest.fixture(scope="module")
def packed(model_folder, card, tmp_path_factory):
    """The tiny model, packed whole."""
    out = tmp_path_factory.mktemp("packed")
    return pack_model(model_folder, out, name="random", licence="CC0-1.0", card=card, title="Random weights")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NNUNET_MS_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("nnunet_ms.trainers.packages.installed.entry_points", lambda group: [])  # nor our own
    return tmp_path / "models"


def rewritten(path, target, change):
    """Copy a zip; `change(name, bytes)` gives the new (name, bytes), or None to leave it out."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as to:
        for entry in source.infolist():
            new = change(entry.filename, source.read(entry))
            if new is not None:
                to.writestr(*new)
    return target


def test_same_model_gives_the_same_file(packed, model_folder, card, tmp_path):
    again = pack_model(model_folder, tmp_path, name="random", licence="CC0-1.0", card=card, title="Random weights")
    assert again.path.read_bytes() == packed.path.read_bytes()


def test_nothing_of_the_training_travels(packed):
    with zipfile.ZipFile(packed.path) as archive:
        names = archive.namelist()
        dataset = json.loads(archive.read(next(name for name in names if name.endswith("dataset.json"))))
        assert "patients" not in dataset
        assert dataset["labels"] == {"background": 0, "lesion": 1}
        with archive.open(next(name for name in names if name.endswith("fold_0/checkpoint_final.pth"))) as file:
            kept = torch.load(file, weights_only=True)
    assert set(kept) == {"network_weights", "trainer_name", "inference_allowed_mirroring_axes", "init_args"}
    assert set(kept["init_args"]) == {"configuration", "fold"}
    assert any("patients left out" in note for note in packed.notes)


def test_installed_model_predicts_the_same_by_its_name(packed, model_folder, image_folder, home, tmp_path):
    found = install_model(packed.path)
    assert found.folder.is_relative_to(home)
    how = {"mc_samples": 2, "dropout": 0.1, "device": "cpu", "pictures": False}
    predict(image_folder, tmp_path / "by_name", model="random", **how)
    predict(image_folder, tmp_path / "by_folder", model=model_folder, **how)
    by_name, by_folder = (
        {p.name: p.read_bytes() for p in (tmp_path / one).glob("*.nii.gz")} for one in ("by_name", "by_folder")
    )
    assert by_name == by_folder
    assert by_name
    record = json.loads((tmp_path / "by_name" / "prediction.json").read_text())
    assert record["packed"] == "random==1"
    assert len(record["packed_sha256"]) == 64
    assert "packed" not in json.loads((tmp_path / "by_folder" / "prediction.json").read_text())


def test_nnunet_installs_and_reads_the_file(packed, model_folder, tmp_path, monkeypatch):
    from nnunetv2.model_sharing import model_import

    monkeypatch.setattr(model_import, "nnUNet_results", str(tmp_path))
    model_import.install_model_from_zip_file(str(packed.path))
    folder = tmp_path / packed.facts.folder
    theirs = nnUNetPredictor(device=torch.device("cpu"))
    theirs.initialize_from_trained_model_folder(str(folder), (0, 1), "checkpoint_final.pth")
    ours = open_model(model_folder, device="cpu").model.weights
    for fold, weights in enumerate(ours):
        assert all(torch.equal(value, theirs.list_of_parameters[fold][name]) for name, value in weights.items())


def test_half_precision_is_half_the_size_and_nearly_the_same(packed, model_folder, card, image_folder, home, tmp_path):
    half = pack_model(model_folder, tmp_path, name="halved", licence="CC0-1.0", card=card, half=True)
    with opened_archive(packed.path) as whole, opened_archive(half.path) as small:
        whole_size, half_size = (
            sum(path.stat().st_size for path in one.unpack(tmp_path / one.facts.name).rglob("*.pth"))
            for one in (whole, small)
        )
    assert half_size < 0.62 * whole_size  # names and structure are not halved
    # rounding to 11 bits: a half of 2^-10, of the number itself
    assert all(
        0 < float(re.search(r"at most ([\d.e-]+)", note)[1]) <= 2**-11 * 1.01 for note in half.notes if "half" in note
    )
    install_model(half.path)
    image = {name: image_folder / f"a_1_{n:04d}.nii.gz" for n, name in enumerate(("t1", "flair", "t2"))}
    one, other = (
        open_model(where, device="cpu").predict(image, mc_samples=0, tta=False).probability
        for where in ("halved", model_folder)
    )
    np.testing.assert_allclose(one, other, atol=5e-3)


def test_weights_that_half_precision_cannot_hold_are_refused(model_folder, card, tmp_path):
    copy = shutil.copytree(model_folder, tmp_path / "d" / model_folder.name)
    path = copy / "fold_0" / "checkpoint_final.pth"
    path.with_name(f"{path.name}.sha256").unlink()
    content = torch.load(path, weights_only=False)
    next(iter(content["network_weights"].values())).flatten()[0] = 1e5
    torch.save(content, path)
    with pytest.raises(ModelError, match=r"fold 0: expected weights up to 65504, found 100000.*without --half"):
        pack_model(copy, tmp_path, name="big", licence="CC0-1.0", card=card, half=True)
    assert pack_model(copy, tmp_path, name="big", licence="CC0-1.0", card=card).path.is_file()


@pytest.mark.parametrize(
    ("what", "change", "match"),
    [
        (
            "weights",
            lambda n, b: (n, b[:-1] + b"x") if n.endswith("fold_1/checkpoint_final.pth") else (n, b),
            "fold_1/checkpoint_final.pth: expected SHA-256",
        ),
        ("plans", lambda n, b: (n, b + b" ") if n.endswith("plans.json") else (n, b), "plans.json: expected SHA-256"),
        ("missing file", lambda n, b: None if n.endswith("plans.json") else (n, b), "plans.json missing"),
        ("no facts", lambda n, b: None if n.endswith(FACTS) else (n, b), "nnU-Net's own export"),
        ("facts damaged", lambda n, b: (n, b[:50]) if n.endswith(FACTS) else (n, b), "expected JSON"),
        (
            "facts incomplete",
            lambda n, b: (n, b.replace(b'"licence"', b'"license"')) if n.endswith(FACTS) else (n, b),
            "found others: licence, license",
        ),
        (
            "facts of another kind",
            lambda n, b: (
                (n, b.replace(b'"parameters": ', b'"parameters": "x", "y": ')) if n.endswith(FACTS) else (n, b)
            ),
            "found others",
        ),
        (
            "later format",
            lambda n, b: (n, b.replace(b'"format": 1', b'"format": 2')) if n.endswith(FACTS) else (n, b),
            "expected format 1",
        ),
        (
            "name climbs",
            lambda n, b: (n, b.replace(b'"random"', b'"../../x"')) if n.endswith(FACTS) else (n, b),
            "name: expected a plain name",
        ),
        (
            "dataset climbs",
            lambda n, b: (n, b.replace(b'"Dataset001_Test"', b'"../x"')) if n.endswith(FACTS) else (n, b),
            "dataset: expected a plain name",
        ),
        (
            "version climbs",
            lambda n, b: (n, b.replace(b'"version": "1"', b'"version": ".."')) if n.endswith(FACTS) else (n, b),
            "expected a version of numbers",
        ),
    ],
)
def test_changed_file_is_refused_and_nothing_is_installed(what, change, match, packed, home, tmp_path):
    bad = rewritten(packed.path, tmp_path / "bad.model.zip", change)
    with pytest.raises(ModelError, match=match):
        install_model(bad)
    assert not [path for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "/evil.json",
        "a/b/../../../evil.json",
        "a\\..\\evil.json",
        "C:/evil.json",
        "a/b/run.py",
        "a/b/postprocessing.pkl",
    ],
)
def test_entry_that_could_write_elsewhere_or_run_is_refused(name, packed, home, tmp_path):
    bad = tmp_path / "bad.model.zip"
    bad.write_bytes(packed.path.read_bytes())
    with zipfile.ZipFile(bad, "a") as archive:
        archive.writestr(name, b"{}")
    with pytest.raises(ModelError, match="nothing was unpacked"):
        install_model(bad)


def test_link_twin_and_stranger_are_refused(packed, home, tmp_path):
    def with_entry(entry, content):
        bad = tmp_path / "bad.model.zip"
        bad.write_bytes(packed.path.read_bytes())
        with zipfile.ZipFile(bad, "a") as archive:
            archive.writestr(entry, content)
        return bad

    link = zipfile.ZipInfo(f"{packed.facts.folder}/link.json")
    link.external_attr = 0o120777 << 16
    with pytest.raises(ModelError, match=r"found '.*link.json'"):
        install_model(with_entry(link, b"/etc/passwd"))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twin = with_entry(f"{packed.facts.folder}/plans.json", b"{}")
    with pytest.raises(ModelError, match="each once"):
        install_model(twin)
    with pytest.raises(ModelError, match=r"extra\.json not listed"):
        install_model(with_entry(f"{packed.facts.folder}/extra.json", b"{}"))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(200)])
def test_file_that_is_no_zip(content, home, tmp_path):
    (tmp_path / "x.model.zip").write_bytes(content)
    with pytest.raises(ModelError, match=r"x.model.zip: expected a packed model"):
        install_model(tmp_path / "x.model.zip")


def test_cut_file(packed, home, tmp_path):
    (tmp_path / "x.model.zip").write_bytes(packed.path.read_bytes()[:-2000])
    with pytest.raises(ModelError, match="Get the file again"):
        install_model(tmp_path / "x.model.zip")


def test_versions_replacing_and_names(packed, model_folder, card, home, tmp_path):
    install_model(packed.path)
    with pytest.raises(SettingsError, match=r"random==1 is installed already.*--replace"):
        install_model(packed.path)
    install_model(packed.path, replace=True)
    later = pack_model(model_folder, tmp_path, name="random", version="1.10", licence="CC0-1.0", card=card)
    between = pack_model(model_folder, tmp_path, name="random", version="1.9", licence="CC0-1.0", card=card)
    for one in (later, between):
        install_model(one.path)
    assert find_model("random").facts.version == "1.10"
    assert find_model("random==1.9").facts.version == "1.9"
    with pytest.raises(ModelError, match=r"Installed are random==1, random==1.9, random==1.10. Did you mean random"):
        open_model("randon", device="cpu")


def test_model_of_another_package_is_found_and_a_broken_one_is_told(packed, home, tmp_path, monkeypatch):
    with opened_archive(packed.path) as archive:
        archive.unpack(tmp_path / "theirs")

    def point(name, load):
        return SimpleNamespace(
            name=name, value=f"{name}:folder", load=load, dist=SimpleNamespace(name=f"{name}-models")
        )

    def fail():
        raise ImportError("no module")

    points = [point("good", lambda: tmp_path / "theirs"), point("called", lambda: lambda: tmp_path / "theirs")]
    points += [point("bad", fail), point("empty", lambda: home)]
    monkeypatch.setattr("nnunet_ms.trainers.packages.installed.entry_points", lambda group: points)
    models, broken = installed_models()
    assert sorted(one.source for one in models) == ["called-models", "good-models"]
    assert sorted(one.where.split(": ")[1].split(" ")[0] for one in broken) == ["bad", "empty"]
    assert main(["list"]) == 1


def test_check_finds_what_was_changed_after_installing(packed, home):
    folder = install_model(packed.path).folder
    assert check_model("random").found[0].startswith("7 files")
    (folder / "notes.txt").write_text("x")
    with pytest.raises(ModelError, match=r"notes\.txt added"):
        check_model("random")
    (folder / "notes.txt").unlink()
    path = folder / "fold_1" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ModelError, match=r"fold_1/checkpoint_final.pth: expected SHA-256"):
        check_model("random")
    with pytest.raises(ModelError, match="SHA-256"):  # without being asked to check
        open_model("random", device="cpu")
    path.unlink()
    with pytest.raises(ModelError, match=r"checkpoint_final.pth missing"):
        check_model("random")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("# X\n\n## Data\n\nA\n", "no section Licence"),
        ("", "no section Data"),
        (
            "## Data\n\n## Licence\nA\n## Citation\nA\n## Results\nA\n## Limits\nnot a medical device\n",
            "nothing in section Data",
        ),
        ("## Data\nA\n## Licence\nA\n## Citation\nA\n## Results\nA\n## Limits\nnone\n", "not a medical device"),
    ],
)
def test_incomplete_card_is_refused(text, match, model_folder, tmp_path):
    (tmp_path / "CARD.md").write_text(text)
    with pytest.raises(SettingsError, match=match):
        pack_model(model_folder, tmp_path, name="x", licence="CC0-1.0", card=tmp_path / "CARD.md")


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"name": "a b"}, "without blanks"),
        ({"name": "a==b"}, "without blanks and ="),
        ({"name": "../x"}, "plain name"),
        ({"version": "v1"}, "numbers and dots"),
        ({"licence": " "}, "licence of the weights"),
    ],
)
def test_options_that_cannot_be_meant(how, match, model_folder, card, tmp_path):
    with pytest.raises(SettingsError, match=match):
        pack_model(model_folder, tmp_path, **{"name": "x", "licence": "CC0-1.0", "card": card} | how)


def test_commands_from_card_to_prediction(model_folder, image_folder, home, tmp_path, capsys):
    card = tmp_path / "CARD.md"
    begin = ["card", str(model_folder), "-o", str(card), "--name", "mine", "-f", "0"]
    assert main(begin) == 0
    assert main(begin) == 2  # it is not replaced
    pack = [
        "pack",
        str(model_folder),
        "-o",
        str(tmp_path),
        "--name",
        "mine",
        "--licence",
        "MIT",
        "--card",
        str(card),
        "-f",
        "0",
    ]
    assert main(pack) == 2
    assert "still to be filled in" in capsys.readouterr().err
    card.write_text(re.sub("<fill in[^>]*>", "Random numbers.", card.read_text()))
    assert main(pack) == 0
    assert main(["list"]) == 0
    assert "No model is installed" in capsys.readouterr().out
    assert main(["install", str(tmp_path / "mine-1.model.zip")]) == 0
    for step in ("show", "check"):
        assert main([step, "mine"]) == 0
        assert main([step, str(tmp_path / "mine-1.model.zip")]) == 0
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "mine==1\tt1, flair, t2\tMIT\tinstalled" in out
    assert out.count("## Limits") == 2
    assert (find_model("mine").folder / CARD).is_file()


def test_unsafe_checkpoint_is_not_packed(model_folder, card, tmp_path):
    copy = shutil.copytree(model_folder, tmp_path / "d" / model_folder.name)
    path = copy / "fold_0" / "checkpoint_final.pth"
    path.with_name(f"{path.name}.sha256").unlink()
    content = torch.load(path, weights_only=False)
    torch.save({**content, "logging": SimpleNamespace(x=1)}, path)
    with pytest.raises(ModelError, match="could run code"):
        pack_model(copy, tmp_path, name="x", licence="CC0-1.0", card=card)
