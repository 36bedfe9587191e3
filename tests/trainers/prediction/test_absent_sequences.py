"""Cases that lack a sequence, for a model that can do without it and for one that cannot."""

import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

import nnunet_ms.doors.trainers as door
from nnunet_ms.errors import ImageError
from nnunet_ms.trainers.prediction.open_model import open_model
from nnunet_ms.trainers.prediction.predict import predict
from nnunet_ms.trainers.prediction.tiles import Sampling, TileRunner
from nnunet_ms.trainers.prediction.views import View
from tests.trainers.tiny_model import DATASET_JSON, write_images, write_results

ANY = "nnUNetTrainerMSMultiArmAnyTiny"
HOW = {"mc_samples": 0, "tta": False}


JOINT = {
    **DATASET_JSON,
    "channel_names": {"0": "t1", "1": "t1post", "2": "flair", "3": "t2"},
    "labels": {"background": 0, "unenhancing": 1, "enhancing": 2},
}


@pytest.fixture(scope="module")
def any_model(tmp_path_factory):
    folder = write_results(tmp_path_factory.mktemp("any"), folds=(0,), trainer_name=ANY)
    return open_model(folder, device="cpu")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"), cases=("a_1",))


def folder_with(images, where, there, zeros=()):
    """Copy some channels; those of `zeros` as zeros."""
    where.mkdir(parents=True)
    for number in there:
        shutil.copy(images / f"a_1_{number:04d}.nii.gz", where)
    for number in zeros:
        image = nib.load(images / "a_1_0000.nii.gz")
        nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), where / f"a_1_{number:04d}.nii.gz")
    return where


@pytest.mark.parametrize("there", [(0, 1), (1, 2), (1,), (2,), (0, 2)])
def test_an_absent_file_is_a_channel_of_zeros(there, any_model, images, tmp_path):
    rest = [number for number in range(3) if number not in there]
    found = []
    for name, zeros in (("absent", ()), ("zeros", rest)):
        done = predict(
            folder_with(images, tmp_path / name, there, zeros),
            tmp_path / f"{name}_out",
            model=any_model,
            maps=("entropy",),
            **HOW,
        )
        assert not done.failures
        assert sum("absent; predicted without it" in note for note in done.notes) == len(rest)
        found.append({p.name: nib.load(p).get_fdata() for p in (tmp_path / f"{name}_out").glob("a_1*.nii.gz")})
        assert list((tmp_path / f"{name}_out").rglob("*.png"))
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        np.testing.assert_array_equal(found[0][name], found[1][name])


def test_from_python_a_mapping_may_lack_channels(any_model, images):
    files = {name: images / f"a_1_{number:04d}.nii.gz" for number, name in enumerate(any_model.channels)}
    whole = any_model.predict(files, **HOW)
    without = any_model.predict({"flair": files["flair"]}, **HOW)
    assert not np.array_equal(whole.probability, without.probability)
    assert [note for note in without.notes if "absent" in note] == [
        "t1: absent; predicted without it.",
        "t2: absent; predicted without it.",
    ]
    with pytest.raises(ImageError, match=r"expected flair or t2 among the channels, found \['t1'\]"):
        any_model.predict({"t1": files["t1"]}, **HOW)
    with pytest.raises(ImageError, match="Is 'flare' 'flair'"):
        any_model.predict({"t2": files["t2"], "flare": files["flair"]}, **HOW)


@pytest.mark.parametrize(
    ("there", "zeros", "match"),
    [
        ((0,), (), r"of which 0001 or 0002 is enough\) as .*found 0000"),
        ((0,), (1, 2), "expected flair or t2, found t1 alone"),
    ],
)
def test_what_the_model_needs_is_asked_for(there, zeros, match, any_model, images, tmp_path):
    with pytest.raises(ImageError, match=match):
        predict(folder_with(images, tmp_path / "in", there, zeros), tmp_path / "out", model=any_model, **HOW)


def test_a_further_channel_is_no_absent_one(any_model, images, tmp_path):
    where = folder_with(images, tmp_path / "in", (1,))
    shutil.copy(images / "a_1_0000.nii.gz", where / "a_1_0003.nii.gz")
    with pytest.raises(ImageError, match="found 0001, 0003"):
        predict(where, tmp_path / "out", model=any_model, **HOW)


def test_a_model_that_needs_all_says_so(model_folder, images, tmp_path):
    how = {"model": model_folder, "folds": 0, "device": "cpu", **HOW}
    with pytest.raises(
        ImageError, match=r"expected channels 0000 \(t1\), 0001 \(flair\), 0002 \(t2\) as .*found 0000, 0001"
    ):
        predict(folder_with(images, tmp_path / "in", (0, 1)), tmp_path / "out", **how)
    done = predict(folder_with(images, tmp_path / "zeros", (0, 1), (2,)), tmp_path / "zeros_out", **how)
    assert any("t2: every voxel is 0. This model was trained with it" in note for note in done.notes)


@pytest.mark.parametrize("name", [name for name in door.__all__ if "Any" in name])
def test_nnunets_own_command_with_zeros_gives_the_same_mask(name, tmp_path):
    # Oracle: nnU-Net's predictor, on a channel of zeros where the file is absent.
    told, there = (JOINT, (1,)) if "JointT1" in name else (DATASET_JSON, (0, 1))
    number = len(told["channel_names"])
    folder = write_results(tmp_path, folds=(0,), trainer_name=name, dataset_json=told)
    images = write_images(tmp_path / "images", cases=("a_1",), channels=number)
    rest = [channel for channel in range(number) if channel not in there]
    ours = folder_with(images, tmp_path / "ours", there)
    done = predict(ours, tmp_path / "out", model=open_model(folder, device="cpu"), **HOW)
    assert sum("absent; predicted without it" in note for note in done.notes) == len(rest)
    theirs = folder_with(images, tmp_path / "theirs", there, rest)
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, use_mirroring=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    files = [str(theirs / f"a_1_{channel:04d}.nii.gz") for channel in range(number)]
    expected = predictor.predict_single_npy_array(
        *predictor.plans_manager.image_reader_writer_class().read_images(files)
    )
    found = np.asanyarray(nib.load(tmp_path / "out" / "a_1.nii.gz").dataobj)
    assert found.any()
    # nnU-Net's half precision rounds logits at the image's corners to whole numbers
    assert np.mean(found != expected.transpose(2, 1, 0)) < 0.01
    assert np.array_equal(found[4:-4, 6:-6, 2:-2], expected.transpose(2, 1, 0)[4:-4, 6:-6, 2:-2])


SHOWN = {  # with each mirroring another subset of what a case has; FLAIR (1), else T2 (2), is in all
    (0, 1, 2): [(), (0,), (2,), (0, 2)],
    (0, 1): [(), (0,)],
    (1, 2): [(), (2,)],
    (0, 2): [(), (0,)],
    (1,): [()],
}


@pytest.mark.parametrize(("there", "left_out"), SHOWN.items())
def test_mirrored_images_are_shown_with_fewer_sequences_too(there, left_out, any_model):
    data = torch.zeros(3, 8, 16, 16)
    data[list(there)] = torch.randn(len(there), 8, 16, 16, generator=torch.Generator().manual_seed(1))
    model = replace(any_model.model, mirror_axes=(0, 1, 2))
    views = TileRunner(model, Sampling(samples=0), torch.device("cpu")).views(data)
    assert [view.left_out for view in views] == left_out * (8 // len(left_out))
    assert len({view.axes for view in views}) == 8
    plain = TileRunner(model, Sampling(samples=0, tta=False), torch.device("cpu")).views(data)
    assert plain == [View(())]


def test_a_view_without_a_sequence_is_the_prediction_without_it(any_model):
    data = torch.randn(3, 8, 16, 16, generator=torch.Generator().manual_seed(2))
    model = replace(any_model.model, mirror_axes=(0, 1))
    runner = TileRunner(model, Sampling(samples=0), torch.device("cpu"))
    whole = runner.predict(data)
    for sample, view in enumerate(runner.views(data)):
        lacking = data.clone()
        lacking[list(view.left_out)] = 0
        turned = torch.flip(lacking, [axis - 1 for axis in view.axes])
        alone = TileRunner(model, Sampling(samples=0, tta=False), torch.device("cpu")).predict(turned).log_odds[0]
        back = torch.flip(torch.from_numpy(alone), [axis - 1 for axis in view.axes])
        assert torch.allclose(torch.from_numpy(whole.log_odds[sample]), back, atol=1e-4)
    assert data.all()  # what was left out is left out of a copy


def test_networks_that_need_all_sequences_see_all_of_them(model_folder):
    model = replace(open_model(model_folder, device="cpu").model, mirror_axes=(0, 1, 2))
    runner = TileRunner(model, Sampling(samples=0), torch.device("cpu"))
    assert {view.left_out for view in runner.views(torch.randn(3, 8, 16, 16))} == {()}
