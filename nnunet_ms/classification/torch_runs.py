"""What trainings of small networks share: the device is there, and random numbers begin anew where they are told to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_ms.errors import SettingsError


def check_device(device: str) -> None:
    """Raise SettingsError unless torch has the device.

    Examples
    --------
    >>> check_device("cpu")
    >>> check_device("gpu")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: device: expected cpu, cuda or cuda:N, found 'gpu'. Correct it.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise SettingsError(f"device: expected cpu, cuda or cuda:N, found {device!r}. Correct it.") from error
    if found.type not in ("cpu", "cuda"):
        raise SettingsError(f"device: expected cpu, cuda or cuda:N, found {device!r}. Use one of them.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found.type == "cuda" and not count:
        raise SettingsError(f"device: expected one that torch can use, found {device!r} and no GPU. Use cpu.")
    if found.type == "cuda" and (found.index or 0) >= count:
        raise SettingsError(f"device: expected cuda:0 to cuda:{count - 1}, found {device!r}. Use one of them.")


def adamw(network: torch.nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW of all weights of a network.

    Examples
    --------
    >>> adamw(torch.nn.Linear(2, 1), 1e-3, 1e-2).defaults["weight_decay"]
    0.01
    """
    return torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)


def check_same_training(saved: Mapping[str, Any], marks: str, path: Path, what: str) -> None:
    """Raise SettingsError if a saved state is that of another training, of other `what` or settings.

    Examples
    --------
    >>> check_same_training({"marks": "a"}, "a", Path("last_epoch.pth"), "scans")
    >>> check_same_training({"marks": "a"}, "b", Path("last_epoch.pth"), "scans")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: last_epoch.pth: expected the state of this training, found one of other scans or ...
    """
    if saved["marks"] != marks:
        raise SettingsError(
            f"{path}: expected the state of this training, found one of other {what} or settings. Remove its folder "
            "to begin again, or write elsewhere."
        )


class Seeded:
    """Torch's generators begin anew inside this block, and are as before after it.

    Parameters
    ----------
    seed, number : int
        Each pair is another beginning, such as of a training and an epoch.
    device : str
        Whose generator begins anew beside the CPU's.

    Examples
    --------
    >>> draws = []
    >>> for number in (1, 1, 2):
    ...     with Seeded(0, number, "cpu"):
    ...         draws.append(torch.rand(1).item())
    >>> draws[0] == draws[1], draws[0] == draws[2]
    (True, False)
    """

    def __init__(self, seed: int, number: int, device: str) -> None:
        devices = [torch.device(device)] if device.startswith("cuda") else []
        self.kept = torch.random.fork_rng(devices=devices)
        self.start = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)

    def __enter__(self) -> None:
        self.kept.__enter__()
        torch.manual_seed(self.start)

    def __exit__(self, *error: Any) -> None:
        self.kept.__exit__(*error)
