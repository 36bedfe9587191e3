"""Time of one forward pass on a CPU: as the networks run it, against a plain call of the same layers.

The networks lay channels last and convolve a single image by the vectorised routine (`networks.blocks.Convolution`).
Measured on one tile of the small and of the full multi-arm network, alternating in the same run; medians.

    python benchmarks/cpu_inference.py
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch

from nnunet_ms.trainers.networks import blocks
from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet

ARMS = (Arm((0, 1, 2)), Arm((0,), 4), Arm((1,), 4))
CASES = {
    "small, 24x48x56": ((8, 16, 32, 64), (24, 48, 56), 15),
    "full, 32x96x96": ((32, 64, 128, 256), (32, 96, 96), 3),
}


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def plain(network: MultiArmUNet, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
    """The same layers on the tensors as they come: channels first, batch of one, PyTorch's choice of routine."""
    blocks.VECTORISED = False
    try:
        return _layers(network, x)
    finally:
        blocks.VECTORISED = True


def _layers(network: MultiArmUNet, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
    per_arm = [encoder(x[:, list(arm.channels)]) for encoder, arm in zip(network.encoders, network.arms, strict=True)]
    levels = zip(network.projections, zip(*per_arm, strict=True), strict=True)
    projected = [project(torch.cat(level, dim=1)) for project, level in levels]
    return network.decoder(network.skips(projected))


def main() -> int:
    """Print one line per network."""
    for name, (filters, patch, repeats) in CASES.items():
        network = MultiArmUNet(ARMS, filters=filters, deep_supervision=False).eval()
        x = torch.randn(1, 3, *patch)
        with torch.inference_mode():
            assert torch.allclose(network(x), plain(network, x), rtol=1e-3, atol=1e-3)
            ours_call, plain_call = partial(network, x), partial(plain, network, x)
            pairs = [(seconds(ours_call), seconds(plain_call)) for _ in range(repeats)]
        ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"{name:<18} ours {ours:.3f} s, plain call {theirs:.3f} s, ratio {ours / theirs:.2f}")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
