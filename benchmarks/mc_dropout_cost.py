"""Cost of Monte Carlo dropout samples: one deterministic pass = 1, by dropout site, against one pass per sample.

    python benchmarks/mc_dropout_cost.py                      # full multi-arm network, one tile of 32x96x96, CPU
    python benchmarks/mc_dropout_cost.py --device cuda --repeats 20

Measured alternately in the same run: the deterministic pass as `nnUNetv2_predict` runs it, our samples with the
deterministic part cached at every site, the closed form before the head, and the naive way of one pass per sample.
Ratios are of medians. Seconds are of processor time on a CPU (all threads together), of wall time on a GPU; `peak_mib`
is memory on a GPU only.
"""

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nnunet_ms.trainers.networks.closed_form import head_moments
from nnunet_ms.trainers.networks.dropout import SITES, channels_of, draw_masks, finest_head
from nnunet_ms.trainers.networks.multi_arm_unet import Arm, MultiArmUNet
from nnunet_ms.trainers.networks.sampling import SplitForward, head_input
from tests.trainers.networks.naive_sampling import naive_samples

ARMS = (Arm((0, 1, 2)), Arm((0,), 4), Arm((1,), 4))
LIMITS = {"decoder": 5.0, "last": 2.5}
PROBABILITY = 0.1


def parse() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=2, help="samples per pass of the last part")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sites", nargs="+", choices=SITES, default=SITES)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "mc_dropout_cost.csv")
    return parser.parse_args()


def seconds(call: Callable[[], object], device: str) -> tuple[float, float]:
    """Time of one call in s and its peak memory in MiB; on a CPU processor time, untouched by other programs."""
    if device == "cpu":
        started = time.process_time()
        call()
        return time.process_time() - started, float("nan")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - started, torch.cuda.max_memory_allocated() / 2**20


def main() -> int:
    """Print and store one row per way; exit code 1 when a limit is missed."""
    options = parse()
    torch.manual_seed(0)
    network = MultiArmUNet(ARMS, deep_supervision=False).eval().to(options.device)
    ways = ways_of(network, torch.randn(1, 3, 32, 96, 96, device=options.device), options)
    runs: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    with torch.inference_mode(), torch.autocast("cuda", enabled=options.device != "cpu"):
        if options.device != "cpu":
            _ = [call() for call in ways.values()]  # cuDNN's choice of algorithms
        for _repeat in range(options.repeats):
            for way, call in ways.items():
                runs[way].append(seconds(call, options.device))
    return report(runs, options)


def ways_of(network: MultiArmUNet, x: torch.Tensor, options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    masks = {
        site: draw_masks(channels_of(network, site), options.samples, PROBABILITY, seed=0)
        for site in {*options.sites, "all"}
    }
    splits = {site: SplitForward(network, site) for site in options.sites}
    ways: dict[str, Callable[[], object]] = {"deterministic": lambda: network(x)}
    head = finest_head(network)
    if "head" in options.sites and head is not None:
        ways["head (closed form)"] = lambda: head_moments(head, head_input(network, x), PROBABILITY)
    for site in options.sites:
        ways[site] = lambda site=site: [s.shape for s in splits[site].samples(x, masks[site], options.at_once)]
    ways["naive (all)"] = lambda: naive_samples(network, x, masks["all"])
    return ways


def report(runs: dict[str, list[tuple[float, float]]], options: argparse.Namespace) -> int:
    """Print and write the table."""
    medians = {way: statistics.median(t for t, _ in pairs) for way, pairs in runs.items()}
    where = torch.cuda.get_device_name() if options.device != "cpu" else f"CPU, {torch.get_num_threads()} threads"
    rows, code = [], 0
    for way, time_s in medians.items():
        ratio = time_s / medians["deterministic"]
        limit = LIMITS.get(way)
        missed = limit is not None and ratio > limit
        code |= missed
        peak = max(p for _, p in runs[way])
        rows.append([way, options.samples, f"{time_s:.4f}", f"{ratio:.2f}", limit or "", f"{peak:.0f}", where])
        print(f"{way:<20}{time_s:9.3f} s   ratio {ratio:6.2f}" + (f"   limit {limit}" if limit else ""))
    print(f"{options.samples} samples, {where}, torch {torch.__version__}, medians of {options.repeats}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["site", "samples", "seconds", "ratio", "limit", "peak_mib", "device"])
        writer.writerows(rows)
    return code


if __name__ == "__main__":
    sys.exit(main())
