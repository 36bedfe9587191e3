"""The network: sizes against the paper's code (public numbers of parameters, shapes), and its options."""

import pytest
import torch

from nnunet_ms.classification.rim.network import (
    SMALL,
    Encoder,
    NetworkSize,
    QsmRimNet,
    classifier,
    radiomic_branch,
)
from nnunet_ms.errors import OptionError


def weights(module):
    return sum(weight.numel() for weight in module.parameters())


@pytest.fixture(scope="module")
def added():
    with torch.device("meta"):  # shapes without the 140 MB
        return QsmRimNet(fusion="sum")


def test_parameters_are_those_of_the_released_code(added):
    parts = [added.encoder, added.radiomic, added.classifier, added.oversampling]
    assert [weights(part) for part in parts] == [33_181_952, 1_068_544, 65_793, 527_360]
    assert weights(added) == 34_843_649


def test_parameters_of_the_papers_figures():
    with torch.device("meta"):
        network = QsmRimNet()
    assert network.fusion == "concat"
    assert weights(network) == 35_105_793
    assert weights(network.oversampling) == 789_504  # by hand: 1024 * 512 + 512 + 1024, 512 * 512 + 512 + 1024


def test_the_switch_of_the_oversampling_changes_no_weight():
    with torch.device("meta"):
        assert weights(QsmRimNet(oversampling=False)) == weights(QsmRimNet(include_self=True)) == 35_105_793


@pytest.mark.parametrize(
    ("patch", "shape"), [((8, 32, 32), (1, 2, 2)), ((32, 32, 32), (2, 2, 2)), ((64, 32, 48), (4, 2, 3))]
)
def test_the_encoder_has_a_total_stride_of_16(patch, shape):
    with torch.device("meta"):
        assert Encoder().stages(torch.empty(1, 2, *patch)).shape == (1, 512, *shape)


@pytest.mark.parametrize("fusion", ["concat", "sum"])
def test_a_small_network_learns_a_batch_by_heart(fusion):
    torch.manual_seed(0)
    network = QsmRimNet(12, NetworkSize((4, 4, 8, 8), 16, 8), fusion=fusion)
    patches, features = torch.randn(12, 2, 8, 32, 32), torch.randn(12, 12)
    labels = torch.tensor([1.0] * 4 + [0.0] * 8)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        logits, truth = network(patches, features, labels)
        assert len(logits) == len(truth) == 20
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert all(weight.grad is not None for weight in network.parameters())


def test_outside_of_training_labels_are_not_looked_at():
    network = QsmRimNet(5, SMALL).eval()
    patches, features = torch.randn(6, 2, 8, 32, 32), torch.randn(6, 5)
    with torch.no_grad():
        first, second = (network(patches, features, torch.full((6,), y))[0] for y in (0.0, 1.0))
    assert torch.equal(first, second)
    assert first.shape == (6,)


def test_both_branches_count():
    network = QsmRimNet(5, SMALL).eval()
    patches, features = torch.randn(2, 2, 8, 32, 32, requires_grad=True), torch.randn(2, 5, requires_grad=True)
    network(patches, features, torch.zeros(2))[0].sum().backward()
    assert (patches.grad.abs().sum((0, 2, 3, 4)) > 0).all()  # QSM and FLAIR
    assert (features.grad != 0).all()


def test_parts_by_hand():
    assert weights(radiomic_branch(10, 7, 3)) == (10 * 7 + 7) + 2 * 7 + (7 * 3 + 3) + 2 * 3
    assert weights(classifier(6, 4)) == (6 * 4 + 4) + (4 + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QsmRimNet(5, SMALL, fusion="add"), "fusion: expected one of 'concat', 'sum', found 'add'"),
        (lambda: QsmRimNet(5, SMALL, oversampling="off"), "oversampling: expected True or False, found 'off'"),
        (lambda: QsmRimNet(5, SMALL, include_self=1), "include_self: expected True or False, found 1"),
        (lambda: NetworkSize((8, 16, 32)), "filters: expected four widths >= 1, found"),
        (lambda: NetworkSize((8, 16, 32, 0)), "filters: expected four widths >= 1, found"),
    ],
)
def test_options_that_cannot_be(make, message):
    with pytest.raises(OptionError, match=message):
        make()
