import hashlib
import re

import pytest
import torch

from nnunet_ms.errors import OptionError
from nnunet_ms.trainers.networks.multi_arm_unet import SHORTCUTS, Arm, MultiArmUNet, SkipGate

PAPER_ARMS = (Arm((0, 1, 2)), Arm((0,), 4), Arm((1,), 4))
SMALL = (4, 8, 16, 32)
IN_PLANE = ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def full():
    return MultiArmUNet(PAPER_ARMS)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return MultiArmUNet(PAPER_ARMS, filters=SMALL)


def test_parameters_equal_the_layer_table(full):
    # Oracle: the layer table, counted by hand from the widths (docs/multi_arm_t2.md); the paper gives 5.9 M.
    assert parameters(full) == 5_932_243
    assert [parameters(encoder) for encoder in full.encoders] == [4_321_248, 271_256, 271_256]
    assert [parameters(p) for p in full.projections] == [1_632, 6_336, 24_960, 99_072]
    assert parameters(full.skips) == 88_032
    assert parameters(full.decoder.ups) == 72_736
    assert [parameters(block) for block in full.decoder.blocks] == [37_056, 147_840, 590_592]
    assert [parameters(head) for head in full.decoder.seg_layers] == [33, 65, 129]


def test_levels_and_sizes(small):
    outputs = small(torch.zeros(2, 3, 8, 32, 32))
    assert [tuple(o.shape) for o in outputs] == [(2, 2, 8, 32, 32), (2, 2, 8, 16, 16), (2, 2, 4, 8, 8)]


def test_without_deep_supervision_one_tensor_equal_to_the_finest(small):
    small.eval()
    x = torch.randn(1, 3, 8, 32, 32)
    finest = small(x)[0]
    small.decoder.deep_supervision = False
    assert torch.equal(small(x), finest)


def test_background_logit_is_zero_so_softmax_is_the_sigmoid_of_the_lesion_logit(small):
    logits = small(torch.randn(1, 3, 8, 32, 32))[0]
    assert torch.all(logits[:, 0] == 0)
    assert torch.allclose(torch.softmax(logits, 1)[:, 1], torch.sigmoid(logits[:, 1]), atol=1e-6)


def test_second_arm_sees_its_own_channel_only(small):
    x = torch.randn(1, 3, 8, 32, 32, requires_grad=True)
    sum(feature.sum() for feature in small.encoders[1](x[:, [0]])).backward()
    assert x.grad[:, 0].abs().sum() > 0
    assert x.grad[:, 1:].abs().sum() == 0


def test_changing_t1_leaves_the_flair_and_t2_arms_alone(small):
    small.eval()
    seen = [[], [], []]
    for index, encoder in enumerate(small.encoders):
        encoder.register_forward_hook(lambda _m, _i, output, index=index: seen[index].append(output))
    x = torch.randn(1, 3, 8, 32, 32)
    small(x)
    small(x * torch.tensor([1.0, 1.0, 0.0]).view(1, 3, 1, 1, 1))
    assert not torch.equal(seen[0][0][0], seen[0][1][0])
    for arm in (1, 2):
        assert all(torch.equal(a, b) for a, b in zip(*seen[arm], strict=True))


def test_every_parameter_receives_a_gradient(small):
    # distributed training stops when a parameter has none
    sum(output[:, 1].square().mean() for output in small(torch.randn(2, 3, 8, 32, 32))).backward()
    without = [name for name, p in small.named_parameters() if p.grad is None]
    assert without == []


def test_dropout_changes_the_output_only_in_training_mode():
    torch.manual_seed(0)
    network = MultiArmUNet(PAPER_ARMS, filters=SMALL, dropout=0.5, deep_supervision=False)
    x = torch.randn(1, 3, 8, 32, 32)
    network.eval()
    assert torch.equal(network(x), network(x))
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout3d):
            module.train()
    assert not torch.equal(network(x), network(x))


def test_compiles_without_a_graph_break(small):
    small.eval()
    x = torch.randn(1, 3, 8, 32, 32)
    compiled = torch.compile(small, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(x)[0], small(x)[0], atol=1e-6)


def test_isotropic_variant_uses_cubic_kernels():
    network = MultiArmUNet(
        PAPER_ARMS, filters=SMALL, strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)), first_kernel=(3, 3, 3)
    )
    assert {m.kernel_size for m in network.modules() if isinstance(m, torch.nn.Conv3d)} == {(1, 1, 1), (3, 3, 3)}
    assert tuple(network(torch.zeros(1, 3, 16, 16, 16))[2].shape) == (1, 2, 4, 4, 4)


def test_the_papers_network_has_the_keys_and_shapes_of_0_1_0(full):
    # Regression test: hash of the state dict's keys and shapes before the network had options; checkpoints need them.
    lines = [f"{key} {tuple(value.shape)}" for key, value in full.state_dict().items()]
    expected = "94a72b9242fe18de47f8113f6e29d6f043c5d3cbbf1648ac194b841f806f439b"
    assert (len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()) == (481, expected)


def test_the_papers_network_starts_and_answers_as_in_0_1_0(small):
    # Regression test: values of the same lines before the network had options, torch 2.13.0 on a CPU.
    small.eval()
    x = torch.sin(torch.arange(3 * 4 * 16 * 16).float()).view(1, 3, 4, 16, 16)
    with torch.no_grad():
        outputs = small(x)
    total = sum(float(p.detach().abs().sum()) for p in small.parameters())
    assert total == pytest.approx(7377.485, rel=1e-4)
    assert [o[:, 1].mean().item() for o in outputs] == pytest.approx([46.419056, 37.630615, 3.143316], rel=1e-3)
    assert [o[0, 1, 0, 0, 0].item() for o in outputs] == pytest.approx([39.540653, 26.46891, 1.258713], rel=1e-3)


@pytest.mark.parametrize(
    ("arms", "options", "expected"),
    [
        # Oracle: counted by hand from the layer table of the paper's network (5,932,243), its first arm with one
        # projection per level (5,346,211), and these parts: far connections of the encoders 30,592 and 2 x 2,272, of
        # the skips 88,032, of the decoder 29,056; gates 1,139 + 4,323 + 16,835.
        (1, {"shortcuts": ()}, 5_198_531),
        (1, {"shortcuts": ("encoder",)}, 5_229_123),
        (1, {"shortcuts": ("skip",)}, 5_286_563),
        (1, {"shortcuts": ("decoder",)}, 5_227_587),
        (1, {"shortcuts": ("encoder", "skip")}, 5_317_155),
        (1, {}, 5_346_211),
        (3, {"shortcuts": ()}, 5_780_019),
        (3, {"shortcuts": ("encoder", "skip")}, 5_903_187),
        (3, {"skip_attention": "gates"}, 5_954_540),
        # encoder blocks 12,128 + 74,112 + 295,680 + 1,181,184, downs 18,624 + 74,112 + 295,680, decoder blocks 388,416
        (1, {"dimensions": "2.5d", "strides": IN_PLANE}, 2_620_003),
    ],
)
def test_parameters_of_the_variants(arms, options, expected):
    with torch.device("meta"):  # shapes only
        assert parameters(MultiArmUNet(PAPER_ARMS[:arms], **options)) == expected


def without_far_connections(network, kept):
    """State dict of the network with `kept` shortcuts that computes the same once the others are silenced in place."""
    place = {"downs": "encoder", "paths": "skip", "ups": "decoder"}
    weights = {}
    for key, value in network.state_dict().items():
        found = re.search(r"(downs|paths|ups)\.(\d+)\.projections\.(\d+)", key)
        if found is None or place[found[1]] in kept:
            weights[key] = value
        elif (found[1] == "downs" and found[2] == found[3]) or (found[1] == "ups" and found[3] == "0"):
            weights[re.sub(r"projections\.\d+", "projections.0", key)] = value  # the adjacent level stays
        elif key.endswith(("1.weight", "1.bias")):  # batch normalisation: all that passes
            value.zero_()
    return weights


@pytest.mark.parametrize("kept", [(), ("encoder",), ("skip",), ("decoder",), ("encoder", "decoder"), SHORTCUTS])
def test_without_shortcuts_it_is_the_whole_network_with_those_silenced(kept):
    # Oracle: the paper's network itself, its far connections multiplied by 0.
    torch.manual_seed(0)
    whole, part = (MultiArmUNet(PAPER_ARMS, filters=SMALL, shortcuts=s).eval() for s in (SHORTCUTS, kept))
    x = torch.randn(1, 3, 8, 16, 16)
    before = whole(x)[0].detach()
    with torch.no_grad():
        part.load_state_dict(without_far_connections(whole, kept))
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-3) for a, b in zip(part(x), whole(x), strict=True))
    assert torch.equal(before, whole(x)[0]) == (kept == SHORTCUTS)


def test_an_open_gate_passes_the_skip_and_a_closed_one_nothing():
    # Oracle: the sigmoid's limits.
    gate = SkipGate(4).eval()
    skip, up = torch.randn(1, 4, 2, 3, 3), torch.randn(1, 4, 2, 3, 3)
    for bias, expected in ((50.0, skip), (-50.0, torch.zeros_like(skip)), (0.0, skip / 2)):
        torch.nn.init.zeros_(gate.weight[1].weight)
        torch.nn.init.constant_(gate.weight[1].bias, bias)
        assert torch.allclose(gate(skip, up), expected, atol=1e-6)


def test_a_gate_by_the_papers_formula():
    # Oracle: Oktay et al. 2018, additive attention, written out; batch normalisation with its starting statistics
    # divides by sqrt(1 + 1e-5).
    torch.manual_seed(0)
    gate = SkipGate(2).double().eval()
    x, g = torch.randn(2, 1, 2, 3, 3, 3, dtype=torch.float64)
    w_x, w_g, psi = ((part[0].weight.flatten(1), part[0].bias) for part in (gate.of_skip, gate.of_decoder, gate.weight))
    scale = (1 + 1e-5) ** -0.5
    at = (0, slice(None), 1, 2, 0)
    q = torch.relu(scale * (w_x[0] @ x[at] + w_x[1]) + scale * (w_g[0] @ g[at] + w_g[1]))
    expected = x[at] / (1 + torch.exp(-scale * (psi[0] @ q + psi[1])))
    assert torch.allclose(gate(x, g)[at], expected)


def test_in_2_5_d_a_slice_sees_its_two_neighbours_only():
    torch.manual_seed(0)
    network = MultiArmUNet(PAPER_ARMS[:1], filters=SMALL, strides=IN_PLANE, dimensions="2.5d").eval()
    x = torch.randn(1, 3, 7, 16, 16, requires_grad=True)
    outputs = network(x)
    assert [tuple(o.shape[2:]) for o in outputs] == [(7, 16, 16), (7, 8, 8), (7, 4, 4)]
    (seen,) = torch.autograd.grad(outputs[0][0, 1, 3].sum(), x)
    assert [bool(seen[0, :, z].abs().sum() > 0) for z in range(7)] == [False, False, True, True, True, False, False]


def test_2_5_d_needs_strides_within_the_slice():
    with pytest.raises(ValueError, match=r"'2.5d'.*strides of 1 along z, found .*\(2, 2, 2\).*take '3d'"):
        MultiArmUNet(PAPER_ARMS, filters=SMALL, dimensions="2.5d")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shortcuts": ("encoder", "skips")}, "shortcuts: .*'encoder', 'skip', 'decoder', found 'skips'.*mean 'skip'"),
        ({"shortcuts": "all"}, "shortcuts: expected one of 'encoder', 'skip', 'decoder', found 'all'"),
        ({"shortcuts": ("Decoder",)}, "shortcuts: .*found 'Decoder'. Did you mean 'decoder'"),
        ({"shortcuts": (None,)}, "shortcuts: .*found None"),
        ({"skip_attention": "gate"}, "skip_attention: expected one of 'none', 'gates', found 'gate'"),
        ({"skip_attention": True}, "skip_attention: .*found True"),
        ({"dimensions": "2d"}, "dimensions: expected one of '3d', '2.5d', found '2d'"),
        ({"dimensions": 3}, "dimensions: .*found 3"),
    ],
)
def test_unknown_options_are_refused_with_the_known_ones(options, message):
    with pytest.raises(OptionError, match=message):
        MultiArmUNet(PAPER_ARMS, filters=SMALL, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"shortcuts": ()},
        {"shortcuts": "skip"},
        {"skip_attention": "gates"},
        {"dimensions": "2.5d", "strides": IN_PLANE},
    ],
)
def test_every_parameter_of_a_variant_receives_a_gradient(options):
    network = MultiArmUNet(PAPER_ARMS, filters=SMALL, **options)
    sum(output[:, 1].square().mean() for output in network(torch.randn(2, 3, 8, 16, 16))).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("arms", "options", "message"),
    [
        ([], {}, "arms: expected one at least, found none"),
        ([Arm(())], {}, r"arms: expected different channels, counted from 0, found \(\)"),
        ([Arm((0, -1))], {}, r"arms: expected different channels, counted from 0, found \(0, -1\)"),
        ([Arm((0,)), Arm((1, 1))], {}, r"arms: expected different channels, counted from 0, found \(1, 1\)"),
        ([Arm((0,), width_divisor=8)], {}, "arms: expected a width_divisor of 1 to 4, the narrowest level, found 8"),
        ([Arm((0,), width_divisor=0)], {}, "arms: expected a width_divisor of 1 to 4, the narrowest level, found 0"),
        ([Arm((0,))], {"filters": ()}, r"filters: expected 2 to 4 numbers above 0, .* found \[\]"),
        ([Arm((0,))], {"filters": (4,)}, r"filters: expected 2 to 4 numbers above 0, .* found \[4\]"),
        ([Arm((0,))], {"filters": (0, 4)}, r"filters: expected 2 to 4 numbers above 0, .* found \[0, 4\]"),
        ([Arm((0,))], {"filters": (4,) * 5}, "filters: expected 2 to 4 numbers above 0, one per level"),
        ([Arm((0,))], {"filters": (4.0, 8)}, r"filters: expected a list of whole numbers, .* found \[4.0, 8\]"),
        ([Arm((0,))], {"shortcuts": None}, r"shortcuts: expected words such as \('encoder', 'skip'\), found None"),
    ],
)
def test_sizes_that_are_no_network_are_refused_before_an_image_comes(arms, options, message):
    with pytest.raises(ValueError, match=message):
        MultiArmUNet(arms, **{"filters": (4, 8), **options})
