import torch

from nnunet_ms.trainers.networks.plain_unet import PlainUNet


def test_parameters_of_the_papers_baseline():
    # Oracle: counted by hand from the widths; the paper gives 7.7 M for the same filters.
    assert sum(p.numel() for p in PlainUNet(3).parameters()) == 7_670_979


def test_levels_and_gradients():
    network = PlainUNet(3, filters=(4, 8, 16, 32))
    outputs = network(torch.randn(2, 3, 8, 32, 32))
    assert [tuple(o.shape[2:]) for o in outputs] == [(8, 32, 32), (8, 16, 16), (4, 8, 8)]
    sum(o[:, 1].square().mean() for o in outputs).backward()
    assert all(p.grad is not None for p in network.parameters())
