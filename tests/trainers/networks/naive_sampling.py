"""Oracle for samples of a network: one whole pass per sample, with its masks."""

import torch

from nnunet_ms.trainers.networks.dropout import fixed_masks, select
from nnunet_ms.trainers.networks.sampling import plain_logits


def naive_samples(network, x, masks):
    """What `SplitForward.samples` has to equal, (K, heads, Z, Y, X)."""
    passes = []
    for sample in range(len(next(iter(masks.values())))):
        with fixed_masks(network, select(masks, [sample], x.device)):
            passes.append(plain_logits(network, x))
    return torch.cat(passes)
