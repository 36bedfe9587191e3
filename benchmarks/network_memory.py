"""Memory and operations of one training patch: multi-arm, single-arm and plain networks, and the planner's estimate.

Counts the bytes that autograd keeps for the backward pass (float32, on CPU, one patch of 32x96x96) and the
floating-point operations of a forward pass, network against network in the same run. The planner assumes that mixed
precision keeps `GB_PER_REFERENCE_PATCH` of it.

    python benchmarks/network_memory.py
"""

import sys

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet
from nnunet_ms.trainers.networks.plain_unet import PlainUNet
from nnunet_ms.trainers.planner import GB_PER_REFERENCE_PATCH

PATCH = (1, 3, 32, 96, 96)
ARMS = (Arm((0, 1, 2)), Arm((0,), 4), Arm((1,), 4))


def kept_bytes(network: nn.Module) -> int:
    """Bytes kept for the backward pass of one patch, parameters excluded, each tensor counted once."""
    parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(torch.zeros(PATCH))
    del output
    return sum(kept.values())


def main() -> int:
    """Print one line per network."""
    networks = {
        "multi-arm": MultiArmUNet(ARMS),
        "single-arm": MultiArmUNet(ARMS[:1]),
        "plain": PlainUNet(3),
        "multi-arm, small": MultiArmUNet(ARMS, filters=(8, 16, 32, 64)),
    }
    plain = kept_bytes(networks["plain"])
    print(f"{'network':<18}{'parameters':>12}{'GFLOP':>8}{'GB kept':>9}{'of plain':>10}")
    for name, network in networks.items():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(PATCH))
        kept = kept_bytes(network)
        size = sum(p.numel() for p in network.parameters())
        flops = counter.get_total_flops() / 1e9  # a multiply-add counts as two
        print(f"{name:<18}{size:>12,}{flops:>8.1f}{kept / 1e9:>9.2f}{kept / plain:>10.2f}")
    print(f"the planner assumes {GB_PER_REFERENCE_PATCH} GB per patch in mixed precision for the multi-arm network")
    return 0


if __name__ == "__main__":
    sys.exit(main())
