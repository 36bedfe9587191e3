"""Run a model's network once on noise: whether its weights give finite logits of the right shape."""

import torch

from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.prediction.model import Model

MOST_VOXELS = 64**3  # of the patch that is tried: a large one would take a minute on a laptop


def check_forward(model: Model) -> tuple[int, ...]:
    """Run the network of every fold on a patch of noise, on the CPU.

    Parameters
    ----------
    model : Model
        Of `read_model`.

    Returns
    -------
    tuple of int
        Shape of the patch (Z, Y, X): the model's own, halved while it has more than 64^3 voxels and can be.

    Raises
    ------
    ModelError
        If logits are not finite, or of another shape than the labels ask for.

    Examples
    --------
    >>> from nnunet_ms.trainers.prediction.model import read_model
    >>> check_forward(read_model(Path("trained")))
    (8, 16, 16)
    """
    patch = _patch(model)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn((1, model.channels, *patch), generator=generator)
    for fold, weights in zip(model.folds, model.weights, strict=True):
        model.network.load_state_dict(weights)
        with torch.no_grad():
            logits = model.network(image)
        expected = (1, model.labels.num_segmentation_heads, *patch)
        if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != expected:
            raise ModelError(f"{model.folder}: fold {fold}: expected logits {expected}, found others. Pack it again.")
        if not torch.isfinite(logits).all():
            raise ModelError(
                f"{model.folder}: fold {fold}: expected finite logits for an image of noise, found NaN or infinity. "
                "Take another checkpoint, or pack without --half."
            )
    return patch


def _patch(model: Model) -> tuple[int, ...]:
    """The model's patch, halved where a side stays a multiple of what its poolings need."""
    size = [int(one) for one in model.configuration.patch_size]
    strides = model.configuration.pool_op_kernel_sizes
    least = [1, 1, 1]
    for stride in strides:
        least = [one * int(step) for one, step in zip(least, stride, strict=True)]
    while size[0] * size[1] * size[2] > MOST_VOXELS:
        axis = max(range(3), key=lambda n: size[n])
        if size[axis] % 2 or (size[axis] // 2) % least[axis] or size[axis] // 2 < 2 * least[axis]:
            break
        size[axis] //= 2
    return tuple(size)
