"""Model folders that were damaged on their way: one line that names the file, or the model as it was."""

import json
import shutil
from random import Random

import pytest
import torch

from nnunet_ms.checkpoints import write_checksum
from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.prediction.model import read_model

CHECKPOINT = "fold_0/checkpoint_final.pth"


@pytest.fixture
def copied(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "model", ignore=shutil.ignore_patterns("fold_1"))


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def resave(path, **entries):
    torch.save({**torch.load(path, weights_only=False), **entries}, path)
    write_checksum(path)


def configuration(plans):
    return plans["configurations"]["3d_fullres"]


TEXTS = {
    "empty": b"",
    "half": b'{"labels": {"backgr',
    "bytes": b"\xff\xfe\x00\x80",
    "a list": b"[1, 2]",
    "a number": b"3",
    "null": b"null",
    "deep": b"[" * 100_000,
    "no entries": b"{}",
    "a page": b"<html>404</html>",
}
PLANS = {
    "no configuration": lambda plans: plans["configurations"].clear(),
    "a circle": lambda plans: configuration(plans).update(inherits_from="3d_fullres"),
    "no parent": lambda plans: configuration(plans).update(inherits_from="gone"),
    "no architecture": lambda plans: configuration(plans).pop("architecture"),
    "patch of a text": lambda plans: configuration(plans).update(patch_size="8x8"),
    "negative patch": lambda plans: configuration(plans).update(patch_size=[8, -16, 16]),
    "infinite spacing": lambda plans: configuration(plans).update(spacing=[float("inf"), 1, 1]),
    "axes": lambda plans: plans.update(transpose_forward=[0, 0, 2]),
    "schemes": lambda plans: configuration(plans).update(normalization_schemes=["ZScoreNormalization"]),
    "a number as reader": lambda plans: plans.update(image_reader_writer=7),
    "statistics": lambda plans: plans.pop("foreground_intensity_properties_per_channel"),
    "strides": lambda plans: configuration(plans)["architecture"]["arch_kwargs"].update(strides=None),
}
DATASETS = {
    "labels of a list": lambda dataset: dataset.update(labels=["lesion"]),
    "no background": lambda dataset: dataset["labels"].pop("background"),
    "background only": lambda dataset: dataset["labels"].pop("lesion"),
    "a text as label": lambda dataset: dataset["labels"].update(lesion="one"),
    "no channels": lambda dataset: dataset.pop("channel_names"),
    "a channel more": lambda dataset: dataset["channel_names"].update({"3": "pd"}),
    "label above the folder": lambda dataset: dataset["labels"].update({"x/../../../../T": 2}),
    "label of another drive": lambda dataset: dataset["labels"].update({"C:\\T": 2}),
    "channel above the folder": lambda dataset: dataset["channel_names"].update({"0": "../t1"}),
    "hidden channel": lambda dataset: dataset["channel_names"].update({"0": ".t1"}),
}
CHECKPOINTS = {
    "weights of a list": {"network_weights": [1, 2]},
    "weights of numbers": {"network_weights": {"a": 1}},
    "no weights": {"network_weights": {}},
    "no arguments": {"init_args": None},
    "no configuration": {"init_args": {}},
    "another configuration": {"init_args": {"configuration": "2d"}},
    "a list as trainer": {"trainer_name": ["a"]},
    "an unknown trainer": {"trainer_name": "Gone"},
    "axes": {"inference_allowed_mirroring_axes": (0, 7)},
    "axes of a number": {"inference_allowed_mirroring_axes": 3},
    "plans that name a program": {"init_args": {"configuration": "3d_fullres", "plans": {"a": "os.system"}}},
}


def refuse(folder, named):
    """`read_model` refuses in one line that names the folder or the file."""
    with pytest.raises(ModelError, match=named) as refused:
        read_model(folder)
    assert str(folder) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 800


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_json_file_of_something_else(copied, name, text):
    (copied / name).write_bytes(text)
    refuse(copied, name)


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", CHECKPOINT])
def test_a_folder_in_the_place_of_a_file(copied, name):
    (copied / name).unlink()
    (copied / name).mkdir()
    refuse(copied, r"no such file|\[Errno|expected")


@pytest.mark.parametrize("change", PLANS.values(), ids=PLANS)
def test_damaged_plans(copied, change):
    edit(copied / "plans.json", change)
    refuse(copied, r"plans\.json|this command does not sample")


@pytest.mark.parametrize("change", DATASETS.values(), ids=DATASETS)
def test_damaged_dataset(copied, change):
    edit(copied / "dataset.json", change)
    refuse(copied, r"dataset\.json|this command does not sample|for 4 channels")


@pytest.mark.parametrize("entries", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_damaged_checkpoint(copied, entries):
    resave(copied / CHECKPOINT, **entries)
    with pytest.raises(ModelError, match=r"\A(?s:.)*(checkpoint_final\.pth|plans\.json)[^\n]*\Z"):
        read_model(copied)


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_a_checkpoint_that_was_cut(copied, size):
    path = copied / CHECKPOINT
    path.write_bytes(path.read_bytes()[:size])
    refuse(copied, r"checkpoint_final\.pth: expected SHA-256 \w{12} as .*remove checkpoint_final\.pth\.sha256")
    (copied / f"{CHECKPOINT}.sha256").unlink()
    refuse(copied, r"checkpoint_final\.pth: expected a checkpoint of nnU-Net, cannot read it")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["decoder.seg_layers.0.bias", "decoder.seg_layers.0.weight"])
def test_weights_that_are_no_numbers(copied, name, value):
    weights = torch.load(copied / CHECKPOINT, weights_only=False)["network_weights"]
    weights[name].view(-1)[-1] = value
    resave(copied / CHECKPOINT, network_weights=weights)
    refuse(copied, rf"expected finite weights, found NaN or infinity in 1 of \d+ tensors, such as {name}\.")


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_one_flipped_bit(copied, place):
    path = copied / CHECKPOINT
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)
    refuse(copied, "expected SHA-256")


@pytest.mark.parametrize("text", ["", "abc", "\xff", "0" * 64])
def test_a_damaged_checksum(copied, text):
    (copied / f"{CHECKPOINT}.sha256").write_text(text, encoding="latin-1")
    refuse(copied, r"expected SHA-256 (none|\S+) as checkpoint_final")


def places(value, place=()):
    """Places of all entries of a JSON value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*place, key)
        yield from places(inner, (*place, key))


def damage(path, random):
    """Replace or remove an entry of JSON, or change bytes of any file."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".json" and random.random() < 0.7:
        content = json.loads(data)
        *above, last = random.choice(list(places(content)))
        here = content
        for key in above:
            here = here[key]
        values = [None, -1, 0, 1.5, float("nan"), "", "x", "os.system", [], {}, [[]], True, "../x", [None] * 3]
        here[last] = random.choice(values)
        path.write_text(json.dumps(content))
        return
    start = random.randrange(len(data))
    data[start : start + random.choice([1, 7, 1000])] = random.randbytes(random.choice([0, 1, 7]))
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(10))
def test_ten_random_damages_each(model_folder, tmp_path, seed):
    # Oracle: a model, or one line; any other exception fails the test. Without checksums, which would find all of them.
    random = Random(seed)
    for number in range(10):
        folder = tmp_path / str(number)
        shutil.copytree(model_folder, folder, ignore=shutil.ignore_patterns("fold_1", "*.sha256"))
        name = random.choice(["plans.json", "plans.json", "dataset.json", "dataset.json", CHECKPOINT])
        damage(folder / name, random)
        try:
            read_model(folder)
        except ModelError as error:
            assert str(folder) in str(error)  # noqa: PT017 - either way is right
            assert len(str(error).splitlines()) == 1  # noqa: PT017
        shutil.rmtree(folder)
