"""Oracle: torch's own generators, drawn from by hand."""

import pytest
import torch

from nnunet_ms.classification.torch_runs import Seeded, check_device
from nnunet_ms.errors import SettingsError


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "mps", "", "cuda:x"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(SettingsError, match=r"device: expected .*found"):
        check_device(device)
    check_device("cpu")


def test_draws_begin_anew_inside_and_go_on_as_before_outside():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    found, inside = [torch.rand(1)], []
    for number in (1, 1, 2):
        with Seeded(7, number, "cpu"):
            inside.append(torch.rand(3))
        found.append(torch.rand(1))
    assert torch.equal(torch.cat(found), expected)
    assert torch.equal(inside[0], inside[1])
    assert not torch.equal(inside[0], inside[2])


def test_an_error_inside_puts_the_generator_back_too():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with pytest.raises(KeyError, match="x"), Seeded(0, 0, "cpu"):
        raise KeyError("x")
    assert torch.equal(torch.rand(2), expected)
