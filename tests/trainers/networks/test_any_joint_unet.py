"""Joint networks for absent sequences: a branch without any is not run, and present ones give what they give alone."""

from copy import deepcopy

import pytest
import torch

from nnunet_ms.trainers.networks.any_joint_unet import AnyJointUNet
from nnunet_ms.trainers.networks.any_sequence_unet import NOTHING
from nnunet_ms.trainers.networks.dropout import channels_of, draw_masks
from nnunet_ms.trainers.networks.joint_unet import BRANCHES, JointUNet
from nnunet_ms.trainers.networks.sampling import SplitForward

CHANNELS = {"unenhancing": (0, 2, 3), "enhancing": (0, 1, 2, 3)}  # t1, t1post, flair, t2
SHAPE = (8, 16, 16)
ALL, ALONE, SOME = [1, 1, 1, 1], [0, 1, 0, 0], [0, 1, 1, 0]


def network(seed=0, dropout=0.0, **how):
    """As after a training: gates and biases are open."""
    torch.manual_seed(seed)
    made = AnyJointUNet(CHANNELS, (1,), filters=(4, 8, 16, 32), dropout=dropout, **how)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("gate") or name.startswith("of_presence"):
                torch.nn.init.normal_(parameter)
    return made


def images(present, seed=1):
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn((len(present), 4, *SHAPE), generator=generator)
    return data * torch.tensor(present, dtype=torch.float32)[:, :, None, None, None]


@pytest.mark.parametrize("connections", ["none", "encoder", "decoder", "both"])
def test_with_all_channels_and_no_bias_it_is_the_joint_network(connections):
    any_one = network(cross_connections=connections).eval()
    plain = JointUNet(CHANNELS, filters=(4, 8, 16, 32), dropout=0.0, cross_connections=connections).eval()
    for branch in any_one.of_presence.values():
        for layer in branch:
            torch.nn.init.zeros_(layer.weight)
    plain.load_state_dict({k: v for k, v in any_one.state_dict().items() if not k.startswith("of_presence")})
    x = images([ALL, ALL])
    for one, other in zip(any_one(x), plain(x), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("connections", ["none", "both"])
@pytest.mark.parametrize(
    "strides", [((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)), ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))]
)
def test_a_mixed_batch_gives_each_image_its_own_logits(strides, connections):
    made = network(strides=strides, cross_connections=connections).eval()
    x = images([ALL, ALONE, SOME, [1, 1, 0, 0]])
    together = made(x)
    for n in range(len(x)):
        for level, alone in zip(together, made(x[n : n + 1]), strict=True):
            torch.testing.assert_close(level[n : n + 1], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("present", "runs"),
    [(ALL, set(BRANCHES)), (ALONE, {"enhancing"}), (SOME, set(BRANCHES)), ([0, 0, 0, 0], set())],
)
def test_a_branch_without_its_sequences_does_not_run_its_encoder(present, runs):
    made, seen = network().eval(), set()
    for name, encoder in made.encoders.items():
        for block in encoder.blocks:
            block.register_forward_hook(lambda *_, name=name: seen.add(name))
    made(images([present]))
    assert seen == runs


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_mask_reaches_every_level_of_the_skips(branch):
    made = network(deep_supervision=False).eval()
    x = images([SOME])
    before = made(x)
    for level in range(4):
        for channel, changes in ((3, False), (2, True)):  # an absent one, and one that is there
            other = deepcopy(made)
            with torch.no_grad():
                other.of_presence[branch][level].weight[:, channel] += 5
            assert torch.equal(other(x), before) is not changes


def test_statistics_and_gradients_come_from_the_images_that_have_the_branch():
    one, other = network(), network()
    x = images([ALL, ALONE, ALONE])
    one(x)
    other(x[:1])
    norm = "encoders.unenhancing.blocks.0.body.1.running_mean"
    torch.testing.assert_close(one.state_dict()[norm], other.state_dict()[norm])
    made = network()
    sum(level.square().mean() for level in made(images([ALONE, ALONE]))).backward()
    assert all(p.grad is None for p in made.encoders["unenhancing"].parameters())
    for branch in ("enhancing",):
        assert all(torch.isfinite(p.grad).all() for p in made.encoders[branch].parameters())
    assert torch.isfinite(made.of_presence["unenhancing"][0].weight.grad).all()


def test_processes_that_train_together_run_every_branch(monkeypatch):
    made = network()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    sum(level.square().mean() for level in made(images([ALONE, ALONE]))).backward()
    assert all(p.grad is not None for p in made.encoders["unenhancing"].parameters())
    alone = network(cross_connections="none")
    sum(level.square().mean() for level in alone(images([ALONE, ALONE]))).backward()
    assert all(p.grad is not None and not p.grad.any() for p in alone.encoders["unenhancing"].parameters())


def test_an_empty_tile_holds_no_lesion():
    for level in network().eval()(images([[0, 0, 0, 0], ALL])):
        assert (level[0, 1:] == NOTHING).all()
        assert (level[0, 0] == 0).all()
        assert not (level[1, 1:] == NOTHING).any()


@pytest.mark.parametrize("connections", ["none", "encoder", "decoder", "both"])
def test_samples_of_an_image_that_lacks_sequences(connections):
    made = network(dropout=0.5, deep_supervision=False, cross_connections=connections).eval()
    for present in (ALONE, SOME, [0, 0, 0, 0]):
        masks = draw_masks(channels_of(made, "all"), 3, 0.5, seed=0)
        samples = torch.cat(list(SplitForward(made, "all").samples(images([present]), masks, 2)))
        assert samples.shape == (3, 3, *SHAPE)
        assert torch.isfinite(samples).all()
