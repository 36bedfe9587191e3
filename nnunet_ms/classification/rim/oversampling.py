"""New rim+ lesions made inside the network: points between neighbours in its latent space (QSMRim-Net, section 2.4).

About four lesions of a hundred have a rim. Each training batch gets further ones, between each rim+ lesion and its
nearest rim+ neighbours; gradients flow through both parents, so the network learns a space in which that makes sense.
"""

import torch
from torch import nn

from nnunet_ms.errors import OptionError
from nnunet_ms.options import switch

FEATURES, NEIGHBOURS = 512, 2  # of the paper


def interpolants(points: torch.Tensor, neighbours: int = NEIGHBOURS, *, include_self: bool = False) -> torch.Tensor:
    """Points between each point and its nearest others: one random place per pair, the same in all dimensions.

    Parameters
    ----------
    points : (n, F) float tensor
        n >= neighbours + 1.
    neighbours : int, optional
        Others of each point that it is joined with, by Euclidean distance.
    include_self : bool, optional
        Join each point with itself too, as the released code does, where a point is its own nearest neighbour: of
        its 3 n points n are copies.

    Returns
    -------
    (n * neighbours, F) float tensor, or n more with `include_self`
        Row i * neighbours + j lies between point i and its j-th neighbour; gradients reach both. The random places
        are of torch's own generator.

    Examples
    --------
    >>> corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> interpolants(corners).shape, interpolants(corners, include_self=True).shape
    (torch.Size([6, 2]), torch.Size([9, 2]))
    """
    with torch.no_grad():  # which neighbours is a choice; no gradient goes through it
        distance = torch.cdist(points, points)
        distance.fill_diagonal_(torch.inf)  # also where two lesions coincide a point is not its own neighbour
        nearest = distance.topk(neighbours, largest=False).indices
        if include_self:
            own = torch.arange(len(points), device=points.device)[:, None]
            nearest = torch.cat([own, nearest], dim=1)
        place = torch.rand(nearest.numel(), 1, dtype=points.dtype).to(points.device)  # on the CPU: one seed, one draw
    first = points.repeat_interleave(nearest.shape[1], dim=0)
    return torch.lerp(first, points[nearest.flatten()], place)


class LatentOversampling(nn.Module):
    """The paper's layer: two dense layers and, while it trains, further rim+ rows between those of the batch.

    Parameters
    ----------
    inputs : int
        Features of a lesion, F: 1024 where both branches are concatenated, 512 where they are added.
    features : int, optional
        Features of the latent space, in which rows are interpolated.
    neighbours : int, optional
        See `interpolants`.
    include_self : bool, optional
        As the released code: 3 rows per rim+ lesion instead of the paper's 2, one of them a copy of itself.
    active : bool, optional
        Off for the comparison without oversampling: the dense layers alone.

    Raises
    ------
    OptionError
        If `neighbours` is below 1, or a switch is no switch.

    Examples
    --------
    >>> layer = LatentOversampling(512)
    >>> sum(weight.numel() for weight in layer.parameters())
    527360
    >>> lesions, labels = torch.randn(16, 512), torch.tensor([1.0] * 5 + [0.0] * 11)
    >>> [rows.shape[0] for rows in layer(lesions, labels)]
    [26, 26]
    >>> [rows.shape[0] for rows in layer.eval()(lesions, labels)]
    [16, 16]
    """

    def __init__(
        self,
        inputs: int,
        features: int = FEATURES,
        neighbours: int = NEIGHBOURS,
        *,
        include_self: bool = False,
        active: bool = True,
    ) -> None:
        super().__init__()
        if neighbours < 1:
            raise OptionError(f"neighbours: expected a whole number >= 1, found {neighbours!r}. The paper has 2.")
        self.neighbours = neighbours
        self.include_self = switch(include_self, "include_self")
        self.active = switch(active, "active")
        self.dense = nn.Sequential(*_dense(inputs, features), *_dense(features, features))

    def forward(self, lesions: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Latent rows and their labels.

        Parameters
        ----------
        lesions : (N, F) float tensor
        labels : (N,) float tensor
            1 for rim+, 0 for rim-.

        Returns
        -------
        (N + m, features) and (N + m,) float tensors
            The first N rows are the lesions; m is 0 in `eval`, and where fewer than `neighbours` + 1 are rim+.
        """
        return self.oversampled(self.dense(lesions), labels)

    def oversampled(self, latent: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `forward`, of rows that are latent already."""
        rim = latent[labels > 0]
        if not (self.training and self.active) or len(rim) < self.neighbours + 1:
            return latent, labels
        new = interpolants(rim, self.neighbours, include_self=self.include_self)
        return torch.cat([latent, new]), torch.cat([labels, labels.new_ones(len(new))])


def _dense(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.SiLU()
