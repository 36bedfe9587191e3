"""Voxel-wise uncertainty of a binary probability from samples of it, in nats.

With samples p_m of weight w_m (sum 1), p = sum w_m p_m and H(p) = -p ln p - (1 - p) ln(1 - p):

======================  ==============================================================================
`entropy`               H(p), of the expected distribution: total uncertainty, 0 to ln 2
`expected_entropy`      sum w_m H(p_m): what the data leave open in every sample
`mutual_information`    entropy - expected_entropy: what the samples disagree on (knowledge)
`epkl`                  expected pairwise Kullback-Leibler divergence between samples
`rmi`                   reverse mutual information, epkl - mutual_information
`variance`              sum w_m p_m^2 - p^2
`negated_confidence`    -max(p, 1 - p), -1 to -1/2
======================  ==============================================================================

References
----------
.. [1] Malinin A, Gales M. Uncertainty estimation in autoregressive structured prediction. ICLR 2021. arXiv:2002.07650
.. [2] Nair T et al. Med Image Anal 59:101557, 2020. doi:10.1016/j.media.2019.101557
.. [3] Malinin A et al. Shifts 2.0. NeurIPS 2022. arXiv:2206.15407
"""

import torch
from torch.nn.functional import softplus

from nnunet_ms.arrays import SingleFloats

MEASURES = (
    "entropy",
    "expected_entropy",
    "mutual_information",
    "epkl",
    "rmi",
    "variance",
    "negated_confidence",
)
PARTS = ("variance_folds", "variance_flips", "variance_masks")  # of the variance, see `VarianceParts`


class VoxelUncertainty:
    """Running sums over samples, so that no more than one sample is in memory: 20 bytes per voxel.

    Parameters
    ----------
    shape : tuple of int
        Shape of every sample.

    Examples
    --------
    >>> sums = VoxelUncertainty((1,))
    >>> for logit in (-2.0, 2.0):
    ...     _ = sums.add(torch.tensor([logit]))
    >>> measures = sums.measures()
    >>> round(float(measures["entropy"][0]), 4), round(float(measures["mutual_information"][0]), 4)
    (0.6931, 0.3278)
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.weight = 0.0
        names = ("p", "square", "entropy", "log_p", "log_q")
        self.sums = {name: torch.zeros(shape, dtype=torch.float32) for name in names}

    def add(self, logits: torch.Tensor, weight: float = 1.0) -> torch.Tensor:
        """Add one sample.

        Parameters
        ----------
        logits : tensor of `shape`
            Log-odds; the entropy is computed from them, because ln(1 - p) of a confident p is not.
        weight : float, optional
            Weights need not sum to 1.

        Returns
        -------
        tensor of `shape`
            The sample's probabilities, float32.
        """
        z = logits.float()
        p, log_p, log_q = torch.sigmoid(z), -softplus(-z), -softplus(z)
        self.weight += weight
        self.sums["p"] += weight * p
        self.sums["square"] += weight * p * p
        self.sums["entropy"] -= weight * (p * log_p + (1 - p) * log_q)
        self.sums["log_p"] += weight * log_p
        self.sums["log_q"] += weight * log_q
        return p

    def mean(self) -> SingleFloats:
        """Mean probability, float32 in [0, 1]."""
        return (self.sums["p"] / self.weight).clamp(0, 1).numpy()

    def measures(self) -> dict[str, SingleFloats]:
        """All `MEASURES`, float32; with one sample, or equal ones, the four about disagreement are 0."""
        mean = {name: total / self.weight for name, total in self.sums.items()}
        p, expected = mean["p"].clamp(0, 1), mean["entropy"]
        entropy = binary_entropy(p)
        information = (entropy - expected).clamp(min=0)  # never negative but for rounding
        epkl = torch.maximum(-(p * mean["log_p"] + (1 - p) * mean["log_q"]) - expected, information)
        result = {
            "entropy": entropy,
            "expected_entropy": expected,
            "mutual_information": information,
            "epkl": epkl,
            "rmi": epkl - information,
            "variance": (mean["square"] - p * p).clamp(min=0),
            "negated_confidence": -torch.maximum(p, 1 - p),
        }
        return {name: value.numpy() for name, value in result.items()}


class VarianceParts:
    """Variance of equally weighted samples by where it comes from; the parts add up to `variance`.

    `variance_folds` is that of the folds' means, `variance_flips` that of the mirrorings' means within folds, and
    `variance_masks` what is left within one mirroring of one fold. With n samples per mirroring, `variance_flips` holds
    one n-th of the variance that masks alone would give, since a mean of few samples varies too. Memory: 4 bytes per
    voxel and mirroring, and 20.

    Parameters
    ----------
    shape : tuple of int
        Shape of every sample.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = 0
        self.fold = -1
        self.flips: dict[int, tuple[int, torch.Tensor]] = {}
        names = ("sum", "square", "of_flips", "of_folds")
        self.sums = {name: torch.zeros(shape, dtype=torch.float32) for name in names}

    def add(self, p: torch.Tensor, fold: int, flip: int) -> None:
        """Add one sample's probabilities (`shape`); the samples of a fold come one after the other."""
        if fold != self.fold:
            self._close()
            self.fold = fold
        count, total = self.flips.get(flip, (0, torch.zeros_like(p)))
        self.flips[flip] = (count + 1, total + p)
        self.count += 1
        self.sums["sum"] += p
        self.sums["square"] += p * p

    def parts(self) -> dict[str, SingleFloats]:
        """The `PARTS`, float32, >= 0."""
        self._close()
        mean = {name: total / self.count for name, total in self.sums.items()}
        values = (
            mean["of_folds"] - mean["sum"].square(),
            mean["of_flips"] - mean["of_folds"],
            mean["square"] - mean["of_flips"],
        )
        return {name: value.clamp(min=0).numpy() for name, value in zip(PARTS, values, strict=True)}

    def _close(self) -> None:
        """Add the squares of a finished fold's sums, each over its number of samples."""
        if not self.flips:
            return
        for count, total in self.flips.values():
            self.sums["of_flips"] += total.square() / count
        of_fold = torch.stack([total for _, total in self.flips.values()]).sum(0)
        self.sums["of_folds"] += of_fold.square() / sum(count for count, _ in self.flips.values())
        self.flips = {}


def binary_entropy(p: torch.Tensor) -> torch.Tensor:
    """Entropy of a Bernoulli distribution in nats; 0 at p = 0 and p = 1.

    Examples
    --------
    >>> binary_entropy(torch.tensor([0.1, 0.5, 0.9]))
    tensor([0.3251, 0.6931, 0.3251])
    """
    return -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))


def outside(name: str) -> float:
    """Value of a measure where nothing was predicted, outside the image's content: certain background.

    Examples
    --------
    >>> outside("entropy"), outside("negated_confidence")
    (0.0, -1.0)
    """
    return -1.0 if name == "negated_confidence" else 0.0
