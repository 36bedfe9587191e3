"""Weights that `nnUNetv2_train -pretrained_weights FILE` begins with: looked at before nnU-Net runs what is in them."""

from collections.abc import Sequence

from nnunet_ms.checkpoints import load_checkpoint

_OPTION = "-pretrained_weights"


def check_pretrained_weights(arguments: Sequence[str]) -> None:
    """Refuse the file of `-pretrained_weights` among a command's arguments if it could run code, or is damaged.

    nnU-Net loads it as a pickle right after it has set up the trainer, and asks the trainer nothing.

    Parameters
    ----------
    arguments : sequence of str
        `sys.argv` of nnU-Net's training command; argparse takes shortened options and `option=value` too.

    Raises
    ------
    ModelError
        See `checkpoints.load_checkpoint`.

    Examples
    --------
    >>> check_pretrained_weights(["nnUNetv2_train", "1", "3d_fullres", "0", "-pretrained_weights", "none.pth"])
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: none.pth: expected weights to begin with, found no such file. Check the path and the...
    """
    for path in pretrained_weights(arguments):
        load_checkpoint(path, ("network_weights",), "weights to begin with")


def pretrained_weights(arguments: Sequence[str]) -> list[str]:
    """Files that `-pretrained_weights` names among a command's arguments.

    Examples
    --------
    >>> pretrained_weights(["nnUNetv2_train", "1", "3d_fullres", "0", "-pretrained=model.pth"])
    ['model.pth']
    """
    found = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        option, sign, value = argument.partition("=")
        if len(option) > len("-p") and _OPTION.startswith(option):
            found.append(value if sign else following)
    return found
