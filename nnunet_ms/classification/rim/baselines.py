"""What QSMRim-Net is compared with: APRL-like, RimNet-like, and its own radiomic features alone.

"Like": written from descriptions of their public code, trained by our folds. APRL (Lou et al., NeuroImage Clin 2021)
is a random forest on first-order features; RimNet (Barquero et al., NeuroImage Clin 2020) a network of two branches.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import avg_pool3d, interpolate

from nnunet_ms.arrays import Bools, Floats, SingleFloats
from nnunet_ms.classification.rim.oversampling import NEIGHBOURS, interpolants
from nnunet_ms.errors import SettingsError
from nnunet_ms.options import switch

TREES = 500  # of APRL's forest
CELLS = (28, 28, 28)  # of RimNet's patch
FILTERS = (32, 64, 128)
SMALL_CELLS, SMALL_FILTERS = (8, 28, 28), (8, 16, 32)  # ours, for a CPU: thick slices as they are, RimNet's in plane
FIRST_ORDER = "original_firstorder_"
STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # of the regression, chosen on the validation lesions


class RimNet(nn.Module):
    """Two branches for QSM and FLAIR; after the first block the FLAIR's features go into the QSM's branch too.

    Parameters
    ----------
    filters : tuple of 3 ints, optional
        Of the blocks.
    cells : tuple of 3 ints, optional
        Of the patch that the network sees, 28 along each axis as published.
    oversampling : bool, optional
        Further rim+ rows between those of the batch, on both branches' joined output. The layers after it are linear,
        so it makes no difference which of them they are put before.

    Notes
    -----
    The patch is resampled to `cells`, linearly; where it has twice as many of its own along an axis, or more, they are
    averaged before. The two outputs' difference is the logit. A batch norm
    follows each convolution, as in the later use of this network (DeepPRL).

    Examples
    --------
    >>> network = RimNet(filters=(2, 3, 4), cells=(8, 16, 16)).eval()
    >>> network(torch.zeros(5, 2, 8, 32, 32), torch.zeros(5, 0), torch.zeros(5))[0].shape
    torch.Size([5])
    """

    def __init__(
        self,
        filters: tuple[int, int, int] = FILTERS,
        cells: tuple[int, int, int] = CELLS,
        *,
        oversampling: bool = False,
    ) -> None:
        super().__init__()
        first, second, third = filters
        self.cells = cells
        self.oversampling = switch(oversampling, "oversampling")
        self.flair = nn.ModuleList([_block(1, first), _block(first, second), _block(second, third)])
        self.qsm = nn.ModuleList([_block(1, first), _block(2 * first, second), _block(second, third)])
        self.last = nn.ModuleList([nn.Conv3d(third, 1, 1), nn.Conv3d(third, 1, 1)])
        self.dense = nn.Sequential(
            nn.Linear(2 * math.prod(-(-n // 8) for n in cells), 256),
            nn.Linear(256, 128),
            nn.Linear(128, 64),
            nn.Linear(64, 2),
        )  # without activations between, as published
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)

    def forward(
        self,
        patches: torch.Tensor,
        features: torch.Tensor,  # noqa: ARG002 - called as QsmRimNet is
        labels: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and labels, as `network.QsmRimNet`; the features are not looked at."""
        cubes = interpolate(self._averaged(patches), size=self.cells, mode="trilinear", align_corners=False)
        qsm, flair = self.qsm[0](cubes[:, :1]), self.flair[0](cubes[:, 1:])
        qsm = self.qsm[1](torch.cat([qsm, flair], dim=1))
        branches = (self.qsm[2](qsm), self.flair[2](self.flair[1](flair)))
        latent = torch.cat([last(x).flatten(1) for last, x in zip(self.last, branches, strict=True)], dim=1)
        rim = latent[labels > 0]
        if self.training and self.oversampling and len(rim) > NEIGHBOURS:
            new = interpolants(rim)
            latent, labels = torch.cat([latent, new]), torch.cat([labels, labels.new_ones(len(new))])
        logits = self.dense(latent)
        return logits[:, 1] - logits[:, 0], labels

    def _averaged(self, patches: torch.Tensor) -> torch.Tensor:
        """Means of as many cells as go into one of the network's, so that none of them is passed over."""
        factors = tuple(max(1, n // wanted) for n, wanted in zip(patches.shape[2:], self.cells, strict=True))
        return patches if factors == (1, 1, 1) else avg_pool3d(patches, factors)


def oversampled(features: SingleFloats, rim: Bools, seed: int = 0) -> tuple[SingleFloats, Bools]:
    """Further rim+ rows between the rim+ ones and their two nearest, as the network's layer makes them, of features.

    Parameters
    ----------
    features : (n, F) float32 array
        Scaled, of a training set.
    rim : (n,) bool array
    seed : int, optional

    Returns
    -------
    (n + 2 r, F) and (n + 2 r,) arrays
        With r rim+ lesions; unchanged where r is below 3.

    Notes
    -----
    What SMOTE (Chawla et al., JAIR 2002) does with two neighbours. A forest has no latent space to do it in.

    Examples
    --------
    >>> features, rim = oversampled(np.eye(4, dtype=np.float32), np.array([True, True, True, False]))
    >>> features.shape, int(rim.sum())
    ((10, 4), 9)
    """
    if rim.sum() <= NEIGHBOURS:
        return features, rim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        new = interpolants(torch.from_numpy(features[rim])).numpy()
    return np.concatenate([features, new]), np.concatenate([rim, np.ones(len(new), dtype=bool)])


def fit_forest(features: SingleFloats, rim: Bools, seed: int = 0, trees: int = TREES) -> dict[str, torch.Tensor]:
    """Train a random forest; what comes back are its trees as arrays, which are data and no code.

    Parameters
    ----------
    features : (n, F) float32 array
    rim : (n,) bool array
    seed, trees : int, optional

    Returns
    -------
    dict of tensors
        `left`, `right` (child of each node; -1 at leaves), `feature`, `cut` (left where feature <= cut), `share` (of
        rim+ lesions at the node), one after the other for all trees, and `root`, each tree's first node.
    """
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(trees, random_state=seed % 2**32).fit(features, rim)
    nodes = [tree.tree_ for tree in forest.estimators_]
    root = np.cumsum([0, *(tree.node_count for tree in nodes)])[:-1]
    children = {
        side: np.concatenate([np.where(of >= 0, of + start, -1) for of, start in zip(ends, root, strict=True)]).astype(
            np.int64
        )
        for side, ends in (
            ("left", [tree.children_left for tree in nodes]),
            ("right", [tree.children_right for tree in nodes]),
        )
    }
    counts = np.concatenate([tree.value[:, 0, :] for tree in nodes])
    arrays: dict[str, npt.NDArray[Any]] = {
        **children,
        "feature": np.concatenate([tree.feature for tree in nodes]).astype(np.int64),
        "cut": np.concatenate([tree.threshold for tree in nodes]),
        "share": counts[:, list(forest.classes_).index(True)] / counts.sum(axis=1),
        "root": root.astype(np.int64),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def forest_probabilities(forest: Mapping[str, torch.Tensor], features: SingleFloats) -> Floats:
    """Mean over the trees of the share of rim+ in each lesion's leaf, (n,)."""
    left, right, feature, cut, share, root = (
        forest[name].numpy() for name in ("left", "right", "feature", "cut", "share", "root")
    )
    lesion = np.arange(len(features))[:, None]
    node = np.broadcast_to(root, (len(features), len(root))).copy()
    while (inner := left[node] >= 0).any():
        goes_left = features[lesion, np.where(inner, feature[node], 0)] <= cut[node]
        node = np.where(inner, np.where(goes_left, left[node], right[node]), node)
    return np.asarray(share[node].mean(axis=1))


def forest_damage(forest: Mapping[str, torch.Tensor], features: int) -> str:
    """What shows that `fit_forest` has not written these trees for so many features; blank where nothing does.

    Children stand after their parents, so that every walk ends.
    """
    names = ("left", "right", "feature", "cut", "share", "root")
    if set(forest) != set(names):
        return f"a forest of {sorted(forest)}"
    left, right, feature, _, share, root = (forest[name].numpy() for name in names)
    count = len(left)
    node = np.arange(count)
    inner = left >= 0
    fits = (
        len({len(forest[name]) for name in names[:-1]}) == 1
        and len(root) > 0
        and ((root >= 0) & (root < count)).all()
        and all(((side > node) & (side < count))[inner].all() for side in (left, right))
        and ((feature >= 0) & (feature < features))[inner].all()
        and ((share >= 0) & (share <= 1)).all()
    )
    return "" if fits else f"trees that lead nowhere, of {count} nodes"


def fit_regression(
    features: SingleFloats, rim: Bools, validation: SingleFloats, validation_rim: Bools
) -> dict[str, torch.Tensor]:
    """Train a logistic regression on radiomic features, its strength chosen on the validation lesions.

    Parameters
    ----------
    features, validation : (n, F) and (v, F) float32 arrays
        Scaled.
    rim, validation_rim : (n,) and (v,) bool arrays

    Returns
    -------
    dict of tensors
        `weights` (F,), `intercept` (), `strength` (): scikit-learn's C of the largest average precision.
    """
    from sklearn.linear_model import LogisticRegression

    from nnunet_ms.classification.rim.training import average_precision

    best: tuple[float, dict[str, torch.Tensor]] | None = None
    for strength in STRENGTHS:
        found = LogisticRegression(C=strength, max_iter=5000).fit(features, rim)
        parts = {"weights": found.coef_[0], "intercept": found.intercept_[0], "strength": strength}
        fitted = {name: torch.tensor(np.asarray(part, dtype=np.float64)) for name, part in parts.items()}
        value = average_precision(validation_rim.astype(float), regression_probabilities(fitted, validation))
        if best is None or value > best[0]:
            best = (value, fitted)
    if best is None:
        raise SettingsError("regression: expected strengths to choose from, found none.")
    return best[1]


def regression_probabilities(regression: Mapping[str, torch.Tensor], features: SingleFloats) -> Floats:
    """Probability of a rim of each lesion, (n,).

    Examples
    --------
    >>> regression = {"weights": torch.tensor([1.0, -1.0]), "intercept": torch.tensor(0.0)}
    >>> regression_probabilities(regression, np.array([[2.0, 2.0]], dtype=np.float32)).tolist()
    [0.5]
    """
    logit = features.astype(np.float64) @ regression["weights"].double().numpy() + float(regression["intercept"])
    return np.asarray(torch.sigmoid(torch.from_numpy(logit)).numpy())


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv3d(inputs, outputs, 3, padding=1), nn.BatchNorm3d(outputs), nn.Tanh()),
        *(nn.Conv3d(outputs, outputs, 3, padding=1), nn.BatchNorm3d(outputs), nn.Tanh()),
        nn.MaxPool3d(2, ceil_mode=True),
    )
