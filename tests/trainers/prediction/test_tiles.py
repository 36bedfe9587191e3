"""Oracle: nnU-Net's own sliding window, run on the network with the masks of one sample at a time."""

from dataclasses import replace

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.networks.dropout import channels_of, draw_masks, fixed_masks, select
from nnunet_ms.trainers.prediction.model import read_model
from nnunet_ms.trainers.prediction.tiles import Sampling, TileRunner, check_sampling

CPU = torch.device("cpu")
# nnU-Net sums in half precision, where the small weights at the image's corners leave whole numbers of the logits
INNER = (..., slice(2, -2), slice(5, -5), slice(5, -5))


@pytest.fixture(scope="module")
def model(model_folder):
    return read_model(model_folder)


@pytest.fixture(scope="module")
def data():
    return torch.randn(3, 11, 26, 20, generator=torch.Generator().manual_seed(0))


def nnunets(model, data, mirror=None):
    predictor = nnUNetPredictor(device=CPU, allow_tqdm=False, use_mirroring=mirror is not None)
    predictor.manual_initialization(
        model.network, model.plans, model.configuration, None, model.dataset_json, model.trainer, mirror
    )
    return predictor.predict_sliding_window_return_logits(data)[1].float()


@pytest.mark.parametrize("site", ["head", "last", "decoder"])
def test_a_sample_is_one_function_on_all_tiles(model, data, site):
    sampling = Sampling(samples=3, site=site, probability=0.3, seed=5, deterministic=True)
    prediction = TileRunner(replace(model, folds=("1",), weights=model.weights[1:]), sampling, CPU).predict(data)
    assert prediction.log_odds.shape == (3, 1, 11, 26, 20)
    masks = draw_masks(channels_of(model.network, site), 3, 0.3, seed=5001)
    model.network.load_state_dict(model.weights[1])
    for sample in range(3):
        with fixed_masks(model.network, select(masks, [sample], CPU)):
            expected = nnunets(model, data)
        assert torch.allclose(torch.from_numpy(prediction.log_odds[sample, 0])[INNER], expected[INNER], atol=0.05)
    sure = torch.from_numpy(prediction.deterministic[0, 0])
    assert torch.allclose(sure[INNER], nnunets(model, data)[INNER], atol=0.05)


def test_without_dropout_folds_and_flips_are_the_samples(model, data):
    flipping = replace(model, mirror_axes=(0, 1, 2))
    runner = TileRunner(flipping, Sampling(samples=0), CPU)
    prediction = runner.predict(data)
    assert runner.samples_per_fold() == 8
    assert prediction.log_odds.shape[0] == 16
    for fold in range(2):
        model.network.load_state_dict(model.weights[fold])
        # nnU-Net averages the logits of the flips
        mean = torch.from_numpy(prediction.log_odds[8 * fold : 8 * fold + 8, 0].mean(0))
        assert torch.allclose(mean[INNER], nnunets(model, data, (0, 1, 2))[INNER], atol=0.05)


@pytest.mark.parametrize("samples", [5, 8])
def test_samples_are_spread_over_the_flips_at_no_further_pass(model, data, samples):
    one = replace(model, folds=("0",), weights=model.weights[:1], mirror_axes=(1, 2))
    runner = TileRunner(one, Sampling(samples=samples, site="last", probability=0.3), CPU)
    spread = runner.predict(data).log_odds
    assert len(runner.flips()) == 4
    assert len(spread) == samples
    # sample 4 k sees the image as it is, with the masks of sample 4 k
    plain = TileRunner(replace(one, mirror_axes=()), Sampling(samples=samples, site="last", probability=0.3), CPU)
    expected = plain.predict(data).log_odds
    assert torch.allclose(torch.from_numpy(spread[::4]), torch.from_numpy(expected[::4]), atol=1e-4)
    assert abs(spread[1] - expected[1]).max() > 1e-3


def test_closed_form_has_the_moments_of_many_samples(model, data):
    one = replace(model, folds=("0",), weights=model.weights[:1])
    closed = TileRunner(one, Sampling(samples=1, site="head", probability=0.2, closed_form=True), CPU).predict(data)
    # variances are averaged over tiles, samples' logits are too: compare where one tile rules, by medians
    many = TileRunner(one, Sampling(samples=150, site="head", probability=0.2), CPU).predict(data).log_odds
    assert abs(closed.log_odds[0] - many.mean(0)).max() < 0.25 * closed.spread.max()
    ratio = many.std(0) / closed.spread[0]
    assert 0.8 < torch.from_numpy(ratio).median() < 1.1


def test_out_of_memory_gives_way_to_fewer_samples_and_then_to_the_cpu(model, monkeypatch, data):
    # a GPU that is too small: its error is raised here, because there need not be one
    one = replace(model, folds=("0",), weights=model.weights[:1])
    runner = TileRunner(one, Sampling(samples=4, site="last", probability=0.3), CPU, at_once=8)
    expected = TileRunner(one, runner.sampling, CPU).predict(data).log_odds
    from nnunet_ms.trainers.networks.sampling import SplitForward

    samples = SplitForward.samples

    def small(self, x, masks, at_once):
        if at_once > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return samples(self, x, masks, at_once)

    monkeypatch.setattr(SplitForward, "samples", small)
    assert torch.allclose(torch.from_numpy(runner.predict(data).log_odds), torch.from_numpy(expected), atol=1e-5)
    assert runner.notes == [f"GPU memory too small: {n} samples at once from here on" for n in (4, 2)]


def test_too_little_memory_for_two_samples_goes_on_on_the_cpu(model, monkeypatch, data):
    one = replace(model, folds=("0",), weights=model.weights[:1])
    runner = TileRunner(one, Sampling(samples=2, site="last", probability=0.3), CPU, at_once=2)
    expected = runner.predict(data).log_odds
    from nnunet_ms.trainers.networks.sampling import SplitForward

    samples, calls = SplitForward.samples, []

    def small_once(self, x, masks, at_once):
        calls.append(at_once)
        if len(calls) == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return samples(self, x, masks, at_once)

    monkeypatch.setattr(SplitForward, "samples", small_once)
    assert torch.equal(torch.from_numpy(runner.predict(data).log_odds), torch.from_numpy(expected))
    (note,) = runner.notes
    assert note.endswith("on the CPU from here on (-device cpu)")


def test_out_of_memory_on_the_cpu_says_what_to_do(model, monkeypatch, data):
    from nnunet_ms.trainers.prediction import tiles

    def never(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    monkeypatch.setattr(tiles._Passes, "run", never)
    with pytest.raises(ModelError, match=r"out of memory with a tile of \(8, 16, 16\).*more memory"):
        TileRunner(model, Sampling(samples=2, probability=0.1), CPU).predict(data)


def test_a_network_without_dropout_layers_is_told_what_to_do(model):
    foreign = replace(model, network=torch.nn.Identity(), trainer="nnUNetTrainer")
    with pytest.raises(ModelError, match=r"nnUNetTrainer has no dropout layer at the site decoder.*mc_samples 0"):
        check_sampling(foreign, Sampling())
    with pytest.raises(ModelError, match="the closed form is for dropout_site head"):
        check_sampling(model, Sampling(closed_form=True))
