import pytest
import torch

from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet

PAPER_ARMS = (Arm((0, 1, 2)), Arm((0,), 4), Arm((1,), 4))
SMALL = (4, 8, 16, 32)


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
