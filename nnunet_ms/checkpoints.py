"""Checkpoints of torch, opened without running code that one may carry. It imports torch: import it late in commands.

A pickle can run anything when it is read. So `weights_only` stays on, and beside tensors and plain values only numpy's
numbers are let through, which nnU-Net logs. torch before 2.6 could be tricked all the same (CVE-2025-32434).
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_ms.errors import ModelError, one_line
from nnunet_ms.outputs import whole_file

_SCALAR: Any = np.float64(0).__reduce__()[0]  # makes a number again; numpy has no public name
_NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
# name in the file -> what it stands for; numpy 2 moved `scalar`, and checkpoints of before are still about
ALLOWED: dict[str, Callable[..., Any]] = {
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray.scalar": _SCALAR,
    "numpy._core.multiarray.scalar": _SCALAR,
    **{f"numpy.dtypes.{kind.__name__}": kind for kind in (type(np.dtype(name)) for name in _NUMBERS)},
}


def load_checkpoint(path: str | Path, needed: Sequence[str] = (), what: str = "a checkpoint") -> dict[str, Any]:
    """Load a checkpoint onto the CPU, wherever its tensors were; nothing in it is run.

    Parameters
    ----------
    path : str or Path
        File that `torch.save` wrote: a dict.
    needed : sequence of str, optional
        Keys that it must have.
    what : str, optional
        What it should be, for messages, such as "a checkpoint of nnU-Net".

    Returns
    -------
    dict
        As saved; `.to(device)` moves tensors on.

    Raises
    ------
    ModelError
        If the file is missing or damaged, differs from its checksum, lacks a key, or holds
        more than tensors, plain values and numpy's numbers.

    Examples
    --------
    >>> import torch
    >>> torch.save({"weights": torch.ones(2), "best": np.float64(0.5)}, "checkpoint.pth")
    >>> load_checkpoint("checkpoint.pth", needed=["weights"])["weights"]
    tensor([1., 1.])
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: expected {what}, found no such file. Check the path and the spelling.")
    check_checksum(path)
    try:
        with torch.serialization.safe_globals([(kind, name) for name, kind in ALLOWED.items()]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(_refusal(path, what, error)) from error
    if not isinstance(loaded, dict):
        raise ModelError(f"{path}: expected {what}, a dict, found {type(loaded).__name__}. Is this the file?")
    missing = [key for key in needed if key not in loaded]
    if missing:
        found = sorted(map(str, loaded))[:8]
        raise ModelError(f"{path}: expected {what} with {list(needed)}, {missing} missing, found {found}. Is it one?")
    return loaded


def save_checkpoint(contents: dict[str, Any], path: str | Path, *, checksum: bool = True) -> None:
    """Write a checkpoint that `load_checkpoint` can read, complete or not at all, with its checksum beside it.

    Parameters
    ----------
    contents : dict
        Tensors, plain values, lists and dicts of them.
    path : str or Path
        An older file and its checksum are replaced.
    checksum : bool, optional
        Off for a state that the next minute replaces.

    Examples
    --------
    >>> save_checkpoint({"weights": torch.zeros(2), "epoch": 3}, "state.pth")
    >>> load_checkpoint("state.pth")["epoch"], checksum_file("state.pth").is_file()
    (3, True)
    """
    path = Path(path)
    checksum_file(path).unlink(missing_ok=True)  # a kill between the two must leave none rather than a wrong one
    with whole_file(path) as partial:
        torch.save(contents, partial)
    if checksum:
        write_checksum(path)


def checksum_file(path: str | Path) -> Path:
    """Where the SHA-256 of a file stands: beside it.

    Examples
    --------
    >>> checksum_file("fold_0/checkpoint_final.pth").name
    'checkpoint_final.pth.sha256'
    """
    path = Path(path)
    return path.with_name(f"{path.name}.sha256")


def write_checksum(path: str | Path) -> None:
    """Write the SHA-256 of a file beside it, as `sha256sum` does, complete or not at all.

    Examples
    --------
    >>> Path("weights.pth").write_bytes(b"abc")
    3
    >>> write_checksum("weights.pth")
    >>> Path("weights.pth.sha256").read_text()[:16]
    'ba7816bf8f01cfea'
    """
    path = Path(path)
    with whole_file(checksum_file(path)) as partial:
        partial.write_text(f"{sha256_of(path)}  {path.name}\n", encoding="ascii")


def check_checksum(path: str | Path) -> None:
    """Raise ModelError if a checksum is beside a file and the file is another; without one nothing is known.

    Examples
    --------
    >>> Path("weights.pth").write_bytes(b"abc")
    3
    >>> write_checksum("weights.pth")
    >>> check_checksum("weights.pth")
    """
    path, beside = Path(path), checksum_file(path)
    if not beside.is_file():
        return
    expected = beside.read_text(encoding="ascii", errors="replace").split()[:1]
    found = sha256_of(path)
    if expected != [found]:
        raise ModelError(
            f"{path}: expected SHA-256 {''.join(expected)[:12] or 'none'} as {beside.name} says, found {found[:12]}: "
            f"one of them is damaged or was changed. Copy both again; if you changed it, remove {beside.name}."
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Examples
    --------
    >>> Path("abc.txt").write_bytes(b"abc")
    3
    >>> sha256_of(Path("abc.txt"))[:16]
    'ba7816bf8f01cfea'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refusal(path: Path, what: str, error: Exception) -> str:
    unsafe = _unsafe_names(path, str(error))
    if unsafe:
        return (
            f"{path}: expected {what} of tensors, plain values and numpy numbers, found {', '.join(unsafe)}; loading "
            "it could run code. Ask its maker for one without, or save the weights and settings again alone."
        )
    # torch's own text begins and ends with the advice to load it unsafely
    paragraphs = [" ".join(part.split()) for part in str(error).split("\n\n") if part.strip()]
    reason = paragraphs[1] if len(paragraphs) > 2 else one_line(error) or type(error).__name__
    return f"{path}: expected {what}, cannot read it ({reason[:200]}). Copy it again."


def _unsafe_names(path: Path, text: str) -> list[str]:
    """Names that a file asks for beyond what is allowed; of files in torch's older format the first, from its error."""
    try:
        return sorted(set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - set(ALLOWED))
    except Exception:  # noqa: BLE001 - no archive: the older format, or none of torch's
        return re.findall(r"GLOBAL ([\w.]+)", text)[:1]
