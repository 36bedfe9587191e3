from itertools import pairwise

import pytest
import torch

from nnunet_ms.trainers.networks.dropout import channels_of
from nnunet_ms.trainers.networks.joint_unet import BRANCHES, JointUNet

CHANNELS = {"unenhancing": (0, 2, 3), "enhancing": (0, 1, 2, 3)}  # t1, t1post, flair, t2
SMALL = (4, 8, 12, 16)
KINDS = ("none", "encoder", "decoder", "both")


def make(kind="both", **settings):
    torch.manual_seed(0)
    return JointUNet(CHANNELS, **{"filters": SMALL, "cross_connections": kind, "dropout": 0.0, **settings})


def open_gates(network, value=0.5):
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".gate"):
                parameter.fill_(value)
    return network


def image(batch=2):
    return torch.randn(batch, 4, 8, 16, 16, generator=torch.Generator().manual_seed(1))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def convolution(channels_in, channels_out, kernel):
    return channels_in * channels_out * kernel + channels_out


def branch_by_hand(channels_in, f):
    """Count of one branch, written from the layer description: convolutions with bias, BN with two numbers each."""

    def block(into, out):
        shortcut = convolution(into, out, 1) if into != out else 0
        return convolution(into, out, 9) + convolution(out, out, 27) + 4 * out + shortcut

    encoder = block(channels_in, f[0]) + sum(block(width, width) for width in f[1:])
    downs = sum(convolution(a, b, 27) + 2 * b for a, b in pairwise(f))
    ups = sum(convolution(b, a, 1) + 2 * a for a, b in pairwise(f))
    return encoder + downs + ups + sum(block(2 * width, width) for width in f[:-1]) + sum(w + 1 for w in f[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_by_hand(kind):
    # Oracle: the layer description of docs/joint_t1.md, counted here without the network's code.
    f = (24, 48, 96, 192)
    branches = branch_by_hand(3, f) + branch_by_hand(4, f)
    levels = {"none": (), "encoder": f, "decoder": f[:-1], "both": (*f, *f[:-1])}[kind]
    couplings = sum(2 * (convolution(w, w, 1) + 2 * w + w) for w in levels)
    assert parameters(make(kind, filters=f)) == branches + couplings
    assert branches == 6_018_294


@pytest.mark.parametrize("kind", KINDS[1:])
def test_at_step_zero_every_variant_equals_two_independent_networks(kind):
    x = image()
    for mode in (True, False):  # batch statistics, then running ones
        outputs = [make(k).train(mode)(x) for k in ("none", kind)]
        assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_open_gates_change_the_output(kind):
    x = image()
    assert not torch.allclose(make("none")(x)[0], open_gates(make(kind))(x)[0], atol=1e-3)


def seen_by(network, branch):
    """Input channels that reach the logit of a branch, by their gradient."""
    x = image().requires_grad_()
    network(x)[0][:, 1 + BRANCHES.index(branch)].square().sum().backward()
    return {channel for channel in range(4) if x.grad[:, channel].abs().sum() > 0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_branch_sees_its_own_channels_while_the_gates_are_shut(kind):
    network = make(kind)
    assert seen_by(network, "unenhancing") == {0, 2, 3}  # not the post-contrast image
    assert seen_by(network, "enhancing") == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", KINDS[1:])
def test_through_open_gates_the_unenhancing_branch_sees_the_post_contrast_image(kind):
    assert seen_by(open_gates(make(kind)), "unenhancing") == {0, 1, 2, 3}


def test_without_connections_one_branch_cannot_move_the_other():
    network = open_gates(make("none"))
    network(image())[0][:, 1].sum().backward()
    moved = {name.split(".")[1] for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"unenhancing", "seg_layers"}
    assert not network.decoder.seg_layers[0].weight.grad[1].any()


def test_gates_open_by_their_own_gradient_and_every_parameter_has_one():
    # distributed training stops when a parameter has none
    network = make()
    sum(output[:, 1:].square().mean() for output in network(image())).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    gates = [p for name, p in network.named_parameters() if name.endswith(".gate")]
    assert len(gates) == 2 * 7
    assert all(gate.grad.abs().sum() > 0 for gate in gates)


def test_both_branches_receive_what_the_other_had_before_the_exchange():
    # Oracle: the definition, with an identity in the place of the projection and all gates 1.
    connection = make().in_encoder[0]
    for gated in connection.into.values():
        gated.project = torch.nn.Identity()
        torch.nn.init.ones_(gated.gate)
    a, b = torch.rand(1, 4, 2, 2, 2), torch.rand(1, 4, 2, 2, 2)
    exchanged = connection({"unenhancing": a, "enhancing": b})
    assert torch.equal(exchanged["unenhancing"], a + b)
    assert torch.equal(exchanged["enhancing"], b + a)


@pytest.mark.parametrize("kind", KINDS)
def test_levels_and_sizes(kind):
    outputs = make(kind)(image())
    assert [tuple(o.shape) for o in outputs] == [(2, 3, 8, 16, 16), (2, 3, 8, 8, 8), (2, 3, 4, 4, 4)]
    assert all(torch.all(o[:, 0] == 0) for o in outputs)


def test_without_deep_supervision_one_tensor_equal_to_the_finest():
    network = open_gates(make()).eval()
    finest = network(image())[0]
    network.decoder.deep_supervision = False
    assert torch.equal(network(image()), finest)


def test_dropout_sites_of_both_branches():
    network = make(dropout=0.2)
    assert channels_of(network, "head") == {"head": 8}
    assert list(channels_of(network, "last")) == [f"decoder.{name}.blocks.0.body.3" for name in BRANCHES]
    assert len(channels_of(network, "decoder2")) == 4
    assert len(channels_of(network, "decoder")) == 6
    assert list(channels_of(network, "bottleneck")) == [f"encoders.{name}.blocks.3.body.3" for name in BRANCHES]
    assert len(channels_of(network, "all")) == 14


@pytest.mark.parametrize("kind", ["both"])
@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_compiles_without_a_graph_break_and_traces(kind):
    network = open_gates(make(kind, deep_supervision=False)).eval()
    x = image(1)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(x), network(x), atol=1e-6)
    with torch.no_grad():
        traced = torch.jit.trace(network, x)
        assert torch.allclose(traced(x), network(x), atol=1e-6)
