import pytest
import torch

from nnunet_ms.trainers.networks.blocks import (
    Convolution,
    ResidualBlock,
    channels_last,
    stride_between,
    with_background,
)
from nnunet_ms.trainers.networks.plain_unet import PlainUNet

STRIDES = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))


@pytest.mark.parametrize(
    ("channels", "expected"), [((3, 32), 28_832), ((64, 64), 147_840), ((1, 8), 1_864), ((256, 256), 2_360_832)]
)
def test_block_parameters_equal_the_layer_table(channels, expected):
    block = ResidualBlock(*channels, first_kernel=(1, 3, 3), dropout=0.1)
    assert sum(p.numel() for p in block.parameters()) == expected


def test_dropout_stands_after_the_non_linearity_and_before_the_second_convolution():
    kinds = [type(layer).__name__ for layer in ResidualBlock(4, 4, (1, 3, 3), 0.1).body]
    assert kinds == ["Convolution", "BatchNorm3d", "ReLU", "MaskedDropout3d", "Convolution", "BatchNorm3d"]


def test_stride_between_levels_multiplies():
    assert stride_between(STRIDES, 0, 1) == (1, 2, 2)
    assert stride_between(STRIDES, 0, 3) == (4, 8, 8)
    assert stride_between(STRIDES, 1, 3) == (4, 4, 4)


def test_with_background_keeps_several_lesion_types_apart():
    logits = torch.randn(1, 2, 3, 3, 3)
    full = with_background(logits)
    assert full.shape[1] == 3
    assert torch.equal(full[:, 1:], logits)


def test_a_single_image_in_inference_is_convolved_as_by_pytorchs_own_layer():
    # Oracle: nn.Conv3d with the same parameters.
    for arguments in ((3, 8, (1, 3, 3), 1, (0, 1, 1)), (8, 16, 3, (1, 2, 2), 1), (8, 1, 1, 1, 0)):
        theirs, ours = torch.nn.Conv3d(*arguments), Convolution(*arguments)
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(1, arguments[0], 6, 12, 12)
        with torch.no_grad():
            assert torch.allclose(ours(channels_last(x)), theirs(x), atol=1e-5)


def test_one_image_gives_what_it_gives_in_a_batch():
    network = PlainUNet(2, filters=(4, 8, 16, 32)).eval()
    x = torch.randn(2, 2, 8, 16, 16)
    with torch.no_grad():
        for alone, together in zip(network(x[:1]), network(x), strict=True):
            assert alone.shape[0] == 1
            assert torch.allclose(alone, together[:1], atol=1e-5)
