"""Transforms of acquisition: what they leave alone, and what they do, against formulas of their own."""

import numpy as np
import pytest
import torch

from nnunet_ms.errors import OptionError
from nnunet_ms.trainers import brain_leftovers
from nnunet_ms.trainers import scan_variety as variety

SHAPE = (12, 24, 24)
CHANGES = {
    "slices": lambda: variety.RandomSlices((1.0, 1.0, 1.0), (3.0, 7.0), probability=1.0),
    "contrast": lambda: variety.RandomContrast(probability=1.0),
    "tissues": lambda: variety.RandomTissueContrast(probability=1.0),
    "bias": lambda: variety.RandomBias(probability=1.0),
    "noise": lambda: variety.RandomRicianNoise((0.1, 0.2), probability=1.0),
    "motion": lambda: variety.RandomMotion(probability=1.0),
    "skull": lambda: brain_leftovers.ResidualSkull(probability=1.0),
    "leftover": lambda: brain_leftovers.LeftoverTissue(probability=1.0),
}


def scan(seed=0, channels=2):
    """A ball of correlated noise, z-scored, 0 outside; the last channel absent."""
    generator = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    brain = (grid**2).sum(0) < 0.6
    data = np.stack([np.where(brain, generator.normal(size=SHAPE), 0) for _ in range(channels)] + [np.zeros(SHAPE)])
    return torch.from_numpy(data.astype(np.float32)), torch.from_numpy(brain)


@pytest.fixture(autouse=True)
def seeded():
    np.random.seed(1)  # noqa: NPY002 - what the transforms draw from
    torch.manual_seed(1)


@pytest.mark.parametrize("name", CHANGES)
def test_outside_stays_zero_and_an_absent_channel_stays_absent(name):
    image, brain = scan()
    changed = CHANGES[name]()(image=image.clone())["image"]
    assert torch.isfinite(changed).all()
    assert not changed[-1].any()
    assert not torch.equal(changed, image)
    if name in ("skull", "leftover"):
        assert torch.equal(changed[:, brain], image[:, brain])
    else:
        assert not changed[:, ~brain].any()
        assert (changed[:-1, brain] != 0).all()


@pytest.mark.parametrize("name", CHANGES)
def test_seeded_draws_repeat_and_nothing_happens_at_probability_0(name):
    image, _ = scan()
    outcomes = []
    for _ in range(2):
        np.random.seed(3)  # noqa: NPY002
        torch.manual_seed(3)
        outcomes.append(CHANGES[name]()(image=image.clone())["image"])
    assert torch.equal(*outcomes)
    transform = CHANGES[name]()
    transform.probability = 0.0
    assert torch.equal(transform(image=image.clone())["image"], image)


def test_thick_slices_have_the_profile_of_their_thickness():
    """A thin plane spreads to a Gaussian of that width: its second moment, averaged over where slices lie."""
    image = torch.full((61, 5, 5), 1e-6)
    image[30] = 1.0
    thick = variety.RandomSlices((1.0, 1.0, 1.0))
    profile = torch.stack([thick.sliced(image, 0, 5.0)[:, 2, 2] for _ in range(400)]).mean(0).double().numpy()
    at = np.arange(61)
    mean = (profile * at).sum() / profile.sum()
    variance = (profile * (at - mean) ** 2).sum() / profile.sum()
    # profile, plus linear interpolation between planes 5 voxels apart (a triangle: step^2 / 6)
    expected = (5.0**2 - 1) / (8 * np.log(2)) + 5.0**2 / 6
    assert mean == pytest.approx(30, abs=0.4)
    assert variance == pytest.approx(expected, rel=0.1)


def test_slices_thinner_than_voxels_change_nothing():
    image, _ = scan()
    assert torch.equal(variety.RandomSlices((3.0, 3.0, 3.0), (1.0, 3.0), 1.0)(image=image.clone())["image"], image)


def test_rician_noise_has_the_moments_of_the_rice_distribution():
    from scipy.stats import rice

    level, spread, signal = 4.0, 0.5, -3.5  # near no signal, where it is far from Gaussian
    image = torch.full((1, 60, 60, 60), signal)
    noisy = variety.RandomRicianNoise((spread, spread), level, probability=1.0)(image=image)["image"]
    expected = rice((signal + level) / spread, scale=spread)
    assert float(noisy.mean()) + level == pytest.approx(expected.mean(), rel=0.01)
    assert float(noisy.std()) == pytest.approx(expected.std(), rel=0.01)


def test_bias_is_a_smooth_factor_of_the_signal():
    level = 4.0
    image, brain = scan(channels=1)
    bent = variety.RandomBias(0.3, level, probability=1.0)(image=image.clone())["image"]
    field = torch.log((bent[0] + level) / (image[0] + level))[brain].double().numpy()
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))[:, brain.numpy()]
    powers = [(i, j, k) for i in range(4) for j in range(4) for k in range(4) if i + j + k <= 3]
    design = np.stack([grid[0] ** i * grid[1] ** j * grid[2] ** k for i, j, k in powers], axis=1)
    left = field - design @ np.linalg.lstsq(design, field, rcond=None)[0]
    assert np.abs(left).max() < 1e-4
    assert np.abs(field).max() > 0.01


def test_contrast_keeps_order_mean_and_spread_of_the_brain():
    image, brain = scan(channels=1)
    bent = variety.RandomContrast((1.4, 1.4), probability=1.0)(image=image.clone())["image"][0][brain]
    own = image[0][brain]
    assert torch.equal(bent.argsort(), own.argsort())
    assert float(bent.mean()) == pytest.approx(float(own.mean()), abs=1e-4)
    assert float(bent.std()) == pytest.approx(float(own.std()), rel=1e-3)


def test_motion_keeps_the_energy_of_a_scan_that_fills_the_patch():
    image = torch.randn(1, 17, 17, 17)  # odd: the highest frequency of an even length has no partner
    moved = variety.RandomMotion(probability=1.0)(image=image.clone())["image"]
    assert not torch.equal(moved, image)
    assert float(moved.square().sum()) == pytest.approx(float(image.square().sum()), rel=1e-4)  # a shift of phases


def test_sequences_are_left_out_as_often_as_asked_and_one_of_the_needed_stays():
    drop = variety.DropSequences(3, needed=(0, 1), keep_all=0.4)
    seen: dict[tuple[bool, ...], int] = {}
    for _ in range(4000):
        image = drop(image=torch.ones(3, 2, 2, 2))["image"]
        key = tuple(bool(one.any()) for one in image)
        seen[key] = seen.get(key, 0) + 1
    assert set(seen) == {(a, b, c) for a in (True, False) for b in (True, False) for c in (True, False) if a or b}
    assert seen[(True, True, True)] / 4000 == pytest.approx(0.4, abs=0.03)
    for key in set(seen) - {(True, True, True)}:
        assert seen[key] / 4000 == pytest.approx(0.12, abs=0.02)


def test_a_case_without_a_sequence_never_loses_what_it_has():
    drop = variety.DropSequences(2, needed=(0, 1), keep_all=0.0)
    for _ in range(50):
        image = torch.ones(2, 2, 2, 2)
        image[1] = 0
        assert drop(image=image)["image"][0].all()


@pytest.mark.parametrize("absent", [(0,), (1,), (2,), (0, 2)])
def test_what_lesions_need_stays_also_where_a_case_lacks_some(absent):
    drop = variety.DropSequences(3, needed=(0, 1), keep_all=0.0)
    seen = set()
    for _ in range(60):
        image = torch.ones(3, 2, 2, 2)
        image[list(absent)] = 0
        seen.add(tuple(bool(one.any()) for one in drop(image=image)["image"]))
    assert all(one[0] or one[1] for one in seen)
    assert not any(one[number] for one in seen for number in absent)
    assert len(seen) == {(0,): 2, (1,): 2, (2,): 3, (0, 2): 1}[absent]


@pytest.mark.parametrize(
    ("channels", "needed", "keep_all"), [(3, (), 0.4), (3, (3,), 0.4), (2, (0,), 1.4), (2, (-1,), 0.1)]
)
def test_sequences_that_are_not_there(channels, needed, keep_all):
    with pytest.raises(OptionError, match=r"needed: expected channels out of"):
        variety.DropSequences(channels, needed, keep_all)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_probability_out_of_range(probability):
    with pytest.raises(OptionError, match="probability: expected a number from 0 to 1"):
        variety.RandomBias(probability=probability)
    with pytest.raises(OptionError, match="probability: expected a number from 0 to 1"):
        brain_leftovers.LeftoverTissue(probability=probability)


def test_a_bump_is_where_the_other_sequence_has_its_intensity(monkeypatch):
    image, brain = scan()
    draws = iter([0.5, 0.3])  # centre and width
    monkeypatch.setattr(np.random, "uniform", lambda *_: next(draws))
    monkeypatch.setattr(np.random, "normal", lambda *_: 2.0)
    moved = variety.RandomTissueContrast().moved(image[0], image[1])
    expected = image[0].numpy() + 2 * np.exp(-((image[1].numpy() - 0.5) ** 2) / (2 * 0.09))
    np.testing.assert_allclose(moved[brain].numpy(), expected[brain.numpy()], rtol=1e-5, atol=1e-6)


def test_a_lone_sequence_keeps_its_contrast():
    image, _ = scan(channels=1)
    assert torch.equal(variety.RandomTissueContrast(probability=1.0)(image=image.clone())["image"], image)


def test_leftover_tissue_lies_on_the_same_voxels_of_all_channels_and_is_brighter_than_a_lesion_at_times():
    image, brain = scan(channels=3)
    shown = [brain_leftovers.LeftoverTissue(probability=1.0)(image=image.clone())["image"] for _ in range(20)]
    lumps = [(one[0] != 0) & ~brain for one in shown]
    assert all(bool(lump.any()) for lump in lumps)
    assert all(
        torch.equal((one[n] != 0) & ~brain, lump) for one, lump in zip(shown, lumps, strict=True) for n in (1, 2)
    )
    assert max(float(one[0].max()) for one in shown) > 6
    whole = torch.ones(2, *SHAPE)
    assert torch.equal(brain_leftovers.LeftoverTissue(probability=1.0)(image=whole.clone())["image"], whole)
