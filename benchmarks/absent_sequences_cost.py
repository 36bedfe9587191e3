"""Cost of a forward pass by the sequences that a scan has, for the networks of any sequences.

    python benchmarks/absent_sequences_cost.py

The network without absent sequences (`plain`, = 1), the one for any sequences with all of them, and with each subset
that it takes: multiply-adds of the convolutions as PyTorch counts them, and processor time by turns in one run, on a
CPU in one thread (ratio of the least times). Limits, of the multiply-adds: with all sequences as many as the plain
network, with fewer never more, with the fewest at most 0.97.
"""

import argparse
import csv
import sys
import time
from itertools import combinations
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nnunet_ms.trainers.networks.any_joint_unet import AnyJointUNet
from nnunet_ms.trainers.networks.any_sequence_unet import AnySequenceUNet
from nnunet_ms.trainers.networks.joint_unet import JointUNet
from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet

ARMS = (Arm((0, 1, 2)), Arm((0,), 4), Arm((1,), 4))
BRANCHES = {"unenhancing": (0, 2, 3), "enhancing": (0, 1, 2, 3)}
SYSTEMS = {
    "multi_arm": (
        ("flair", "t2", "t1"),
        (0, 1),
        lambda **how: (MultiArmUNet(ARMS, **how), AnySequenceUNet(ARMS, **how)),
    ),
    "joint_t1": (
        ("t1", "t1post", "flair", "t2"),
        (1,),
        lambda **how: (JointUNet(BRANCHES, **how), AnyJointUNet(BRANCHES, (1,), **how)),
    ),
}
FEWEST_LIMIT = 0.97


def seconds(network: nn.Module, image: torch.Tensor) -> float:
    """Processor time of one pass."""
    with torch.no_grad():
        started = time.process_time()
        network(image)
        return time.process_time() - started


def operations(network: nn.Module, image: torch.Tensor) -> int:
    """Floating-point operations of one pass; with gradients on, so that PyTorch knows the convolutions by name."""
    with FlopCounterMode(display=False) as counter:
        network(image)
    return int(counter.get_flop_counts()["Global"][torch.ops.aten.convolution])


def measure(system: str, filters: tuple[int, ...], patch: tuple[int, ...], repeats: int) -> list[dict[str, object]]:
    """One row per subset of sequences, and one for the plain network."""
    names, needed, make = SYSTEMS[system]
    plain, network = (one.eval() for one in make(filters=filters, dropout=0.0, deep_supervision=False))
    whole = torch.randn(1, len(names), *patch)
    jobs = {"plain": (plain, whole)}
    for size in range(len(names), 0, -1):
        for there in combinations(range(len(names)), size):
            if set(there) & set(needed):
                image = torch.zeros_like(whole)
                image[:, list(there)] = whole[:, list(there)]
                jobs["+".join(names[number] for number in there)] = (network, image)
    least = dict.fromkeys(jobs, float("inf"))
    for _ in range(repeats + 1):  # the first turn warms up
        for name, (one, image) in jobs.items():
            least[name] = min(least[name], seconds(one, image))
    counted = {name: operations(one, image) for name, (one, image) in jobs.items()}
    return [
        {
            "system": system,
            "sequences": name,
            "operations": counted[name],
            "operations_ratio": round(counted[name] / counted["plain"], 3),
            "seconds": round(value, 4),
            "seconds_ratio": round(value / least["plain"], 3),
        }
        for name, value in least.items()
    ]


def main() -> int:
    """Print and write the table; 1 if a limit is not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filters", type=int, nargs=4, default=(8, 16, 32, 64))
    parser.add_argument("--patch", type=int, nargs=3, default=(16, 64, 64))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "absent_sequences_cost.csv")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [row for system in SYSTEMS for row in measure(system, tuple(args.filters), tuple(args.patch), args.repeats)]
    with args.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(
            f"{row['system']:10} {row['sequences']:22} {row['operations_ratio']:6.3f} of the operations, "
            f"{row['seconds']:8.4f} s, {row['seconds_ratio']:6.3f} of the time"
        )
    ratios = {name: [float(str(r["operations_ratio"])) for r in rows if r["system"] == name] for name in SYSTEMS}
    met = all(one[1] == max(one) == 1 and min(one) <= FEWEST_LIMIT for one in ratios.values())
    print(f"all sequences as plain, the fewest at most {FEWEST_LIMIT}: {'met' if met else 'NOT met'}")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
