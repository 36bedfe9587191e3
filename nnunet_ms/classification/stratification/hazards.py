"""Hazards of discrete time as a network's outputs: their likelihood, and where a training begins.

Gensheimer MF, Narasimhan B. A scalable discrete-time survival model for neural networks. PeerJ 7:e6257, 2019.
doi:10.7717/peerj.6257
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import scipy.special
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from nnunet_ms.arrays import Floats, SingleFloats
from nnunet_ms.errors import ModelError


def hazard_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of hazards, a mean over patients.

    A patient who progresses in interval j contributes h_j prod_{i<j} (1 - h_i); one who is censored after interval j
    contributes prod_{i<=j} (1 - h_i). That is the likelihood of a logistic regression on one row per patient and
    interval at risk.

    Parameters
    ----------
    logits : (B, k) float tensor
        Log odds of the hazard of each interval.
    targets : (B, 2 k) float tensor
        Of `survival_intervals.person_periods`: survived, then progressed.

    Examples
    --------
    A patient who survives one interval and progresses in the next, at hazards of one half: 2 log 2.

    >>> hazard_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
    tensor(1.3863)
    """
    survived, progressed = targets.chunk(2, dim=1)
    rows = binary_cross_entropy_with_logits(logits, progressed, weight=survived + progressed, reduction="sum")
    return rows / len(logits)


def hazard_scores(logits: Floats, targets: Floats) -> Mapping[str, float]:
    """Mean log-likelihood of (n, k) logits and (n, 2 k) targets, by which the best epoch is chosen; higher is better.

    Examples
    --------
    >>> round(hazard_scores(np.zeros((1, 2)), np.array([[1, 0, 0, 1]]))["log_likelihood"], 4)
    -1.3863
    """
    survived, progressed = np.split(targets, 2, axis=1)
    terms = survived * np.logaddexp(0, logits) + progressed * np.logaddexp(0, -logits)
    return {"log_likelihood": float(-terms.sum(axis=1).mean())}


def hazards_of(logits: npt.ArrayLike) -> Floats:
    """Hazard of each interval, (n, k), from log odds.

    Examples
    --------
    >>> hazards_of([[0.0]]).item()
    0.5
    """
    return np.asarray(scipy.special.expit(np.asarray(logits, dtype=np.float64)))


def overall_hazards(targets: SingleFloats) -> Floats:
    """Share of the patients at risk who progress in each interval, (k,); half an event more of each kind.

    The half keeps an interval without an event, or without a survivor, away from log odds that are infinite.

    Examples
    --------
    >>> overall_hazards(np.array([[1, 0, 0, 1], [1, 1, 0, 0]], np.float32)).round(3).tolist()
    [0.167, 0.5]
    """
    survived, progressed = (part.sum(axis=0) for part in np.split(np.asarray(targets, dtype=np.float64), 2, axis=1))
    return np.asarray((progressed + 0.5) / (survived + progressed + 1))


def begin_at(network: torch.nn.Module, hazards: Floats) -> torch.nn.Module:
    """Set the offsets of a network's last layer, so that it begins with the hazards of all patients alike.

    Without it the first epochs are spent on learning how rare progression is.

    Parameters
    ----------
    network : torch.nn.Module
        Whose last linear layer has one output per interval.
    hazards : (k,) floats
        Of `overall_hazards`.

    Raises
    ------
    ModelError
        If it has no such layer.

    Examples
    --------
    >>> network = begin_at(torch.nn.Linear(3, 2), np.array([0.5, 0.2]))
    >>> network(torch.zeros(1, 3)).sigmoid().tolist()
    [[0.5, 0.20000000298023224]]
    """
    layers = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    if not layers or layers[-1].out_features != len(hazards) or layers[-1].bias is None:
        raise ModelError(
            f"{type(network).__name__}: expected a last linear layer with {len(hazards)} outputs and offsets, found "
            "none. Take one of the networks of stratification_network."
        )
    with torch.no_grad():
        layers[-1].bias.copy_(torch.from_numpy(scipy.special.logit(hazards)))
    return network
