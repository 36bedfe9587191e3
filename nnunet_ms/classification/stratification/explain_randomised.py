"""Do maps depend on what the network has learnt? They are drawn again of the same network with random weights."""

import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from scipy import stats
from skimage.metrics import structural_similarity
from torch import nn

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.classification.stratification.explain_methods import METHOD_NAMES, STEPS, Method, explain
from nnunet_ms.tables import Column, Table

DEPENDS_BELOW = 0.5  # Spearman's rho of maps with learnt and with random weights, from which on they are called alike
WINDOW = 7  # voxels of the structural similarity
RANDOMISATION = Table(
    "randomisation",
    (
        *(Column(name) for name in ("case_id", "patient_id", "visit", "method", "compared")),
        Column("layers_randomised", "integer", minimum=1),
        Column("layers", "integer", minimum=1),
        Column("spearman", "number", blank=True, minimum=-1, maximum=1),
        Column("spearman_absolute", "number", blank=True, minimum=-1, maximum=1),
        Column("ssim", "number", blank=True, minimum=-1, maximum=1),
    ),
    key=("case_id", "method", "compared", "layers_randomised"),
)
LEARNT, RANDOM = "learnt and random", "random and random"


def randomised(network: nn.Module, layers: int, seed: int) -> nn.Module:
    """Copy a network with fresh weights in its last layers, from the output on; the others keep what they learnt.

    Parameters
    ----------
    network : torch.nn.Module
        Not changed.
    layers : int
        How many, of `weighted_layers`.
    seed : int
        torch's own generator is left as it is.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> other = randomised(network, 1, seed=0)
    >>> [bool(torch.equal(a.weight, b.weight)) for a, b in zip(network, other)]
    [True, False]
    """
    network = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in weighted_layers(network)[::-1][:layers]:
            cast("Any", module).reset_parameters()
    return network


def weighted_layers(network: nn.Module) -> list[nn.Module]:
    """Layers with weights of their own, from the input on.

    Examples
    --------
    >>> len(weighted_layers(nn.Sequential(nn.Conv3d(1, 2, 3), nn.ELU(), nn.Linear(2, 1))))
    2
    """
    return [module for module in network.modules() if list(module.parameters(recurse=False))]


def stages(layers: int) -> list[int]:
    """How many layers lose their weights in turn (a cascade): the last, half, all.

    Examples
    --------
    >>> stages(5), stages(1)
    ([1, 3, 5], [1])
    """
    return sorted({1, (layers + 1) // 2, layers})


def likeness(first: SingleFloats, second: SingleFloats, seen: Bools) -> tuple[float, float, float]:
    """Spearman's rho of two maps where the network saw something, that of their sizes, and the structural similarity.

    Parameters
    ----------
    first, second : (X, Y, Z) float32 array
    seen : (X, Y, Z) bool array

    Returns
    -------
    spearman, spearman_absolute, ssim : float
        NaN where a map is the same everywhere. For the structural similarity each map is divided by its standard
        deviation, and their range is that of the two.

    Examples
    --------
    >>> a = np.arange(512.0, dtype=np.float32).reshape(8, 8, 8)
    >>> tuple(round(float(value), 3) for value in likeness(a, a, a >= 0))
    (1.0, 1.0, 1.0)
    """
    x, y = first[seen].astype(np.float64), second[seen].astype(np.float64)
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan"), float("nan")
    absolute = float("nan")
    if np.ptp(np.abs(x)) > 0 and np.ptp(np.abs(y)) > 0:
        absolute = float(stats.spearmanr(np.abs(x), np.abs(y)).statistic)
    scaled = [np.where(seen, one / values.std(), 0) for one, values in ((first, x), (second, y))]
    span = max(float(one.max()) for one in scaled) - min(float(one.min()) for one in scaled)
    window = min(WINDOW, *(n - 1 + n % 2 for n in first.shape))  # odd, and within the image
    ssim = float(structural_similarity(*scaled, data_range=span, win_size=window))
    return float(stats.spearmanr(x, y).statistic), absolute, ssim


@dataclass(frozen=True)
class Randomised:
    """How alike maps with learnt and random weights are (`RANDOMISATION`), and two maps of wholly random networks."""

    rows: pd.DataFrame
    maps: tuple[SingleFloats, SingleFloats]


def compare_with_random(
    network: nn.Module, images: SingleFloats, method: Method, *, steps: int = STEPS, seed: int = 0, device: str = "cpu"
) -> Randomised:
    """Compare a scan's map with those of ever more random networks [1]_.

    Parameters
    ----------
    network, images, method, steps, device
        As in `explain_methods.explain`.
    seed : int, optional
        Of the random weights.

    Returns
    -------
    Randomised
        `rows` with `compared`, `layers_randomised`, `layers` and the three of `likeness`. The last row compares two
        networks that are random throughout: what maps have in common by the image alone.

    References
    ----------
    .. [1] Adebayo J et al. Sanity checks for saliency maps. NeurIPS 2018. arXiv:1810.03292

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(27, 1))
    >>> rows = compare_with_random(network, np.ones((1, 3, 3, 3), np.float32), "ig", steps=2).rows
    >>> rows[["compared", "layers_randomised", "layers"]].to_dict("list")
    {'compared': ['learnt and random', 'random and random'], 'layers_randomised': [1, 1], 'layers': [1, 1]}
    """
    layers, seen = len(weighted_layers(network)), np.any(images != 0, axis=0)

    def relevance(of: nn.Module) -> SingleFloats:
        return explain(of, images, method, steps=steps, device=device).relevance

    learnt = relevance(network)
    maps = {count: relevance(randomised(network, count, seed)) for count in stages(layers)}
    rows = [(LEARNT, count, layers, *likeness(learnt, one, seen)) for count, one in maps.items()]
    other = relevance(randomised(network, layers, seed + 1))
    rows.append((RANDOM, layers, layers, *likeness(maps[layers], other, seen)))
    return Randomised(pd.DataFrame(rows, columns=RANDOMISATION.names[4:]), (maps[layers], other))


def verdicts(rows: pd.DataFrame) -> list[str]:
    """Say of each method, in a sentence, whether its maps depend on the weights.

    Parameters
    ----------
    rows : pandas.DataFrame
        `RANDOMISATION`.

    Examples
    --------
    >>> one = {"method": "ig", "layers_randomised": 3, "layers": 3, "case_id": "a"}
    >>> told = [(LEARNT, 0.1), (RANDOM, 0.2)]
    >>> rows = [{**one, "compared": c, "spearman": s, "spearman_absolute": s} for c, s in told]
    >>> verdicts(pd.DataFrame(rows))
    ['Integrated gradients: maps depend on the weights (all 3 layers random: Spearman 0.10, of absolute values ...']
    """
    return [_verdict(str(method), part) for method, part in rows.groupby("method", sort=False)]


def _verdict(method: str, rows: pd.DataFrame) -> str:
    name, full = METHOD_NAMES[method], rows[rows["layers_randomised"] == rows["layers"]]
    learnt, random = (full[full["compared"] == which] for which in (LEARNT, RANDOM))
    n = int(learnt["spearman"].notna().sum())
    if not n:
        return f"{name}: whether maps depend on the weights is not known: a map was the same everywhere."
    signed, absolute = abs(float(learnt["spearman"].mean())), float(learnt["spearman_absolute"].mean())
    if signed >= DEPENDS_BELOW:
        word = "do NOT depend on the weights"
    elif absolute >= DEPENDS_BELOW:
        word = "depend on the weights in their signs, but their sizes do NOT: the image decides those"
    else:
        word = "depend on the weights"
    two = (
        f"{float(random['spearman_absolute'].mean()):.2f}" if random["spearman_absolute"].notna().any() else "not known"
    )
    return (
        f"{name}: maps {word} (all {int(full['layers'].iloc[0])} layers random: Spearman "
        f"{float(learnt['spearman'].mean()):.2f}, of absolute values {absolute:.2f}; two random networks {two}; n = "
        f"{n} scan{'' if n == 1 else 's'})."
    )
