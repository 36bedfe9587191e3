"""Which channel is which sequence: arms are chosen by the channel names of dataset.json, never by their order."""

from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_ms.errors import ModelError

_SPELLINGS = {
    "flair": ("flair", "t2flair", "t2wflair"),
    "t2": ("t2", "t2w"),
    "t1": ("t1", "t1w", "t1p", "t1pre"),
    "t1post": ("t1post", "t1wgd", "t1gd", "t1c", "t1ce"),
    "qsm": ("qsm", "chi", "chimap", "susceptibility", "susceptibilitymap"),
}
_OF_T2 = ("nnUNetTrainerMSMultiArm", "nnUNetTrainerMSSingleArm", "nnUNetTrainerMSFlairT1")
# beginning of a trainer's name -> the trainer of the same task that takes cases without some sequences
ANY_SEQUENCE = {
    **dict.fromkeys((*_OF_T2, "nnUNetTrainerMSPlain"), "nnUNetTrainerMSMultiArmAny"),
    **dict.fromkeys(("nnUNetTrainerMSJointT1", "nnUNetTrainerMSIndividualT1"), "nnUNetTrainerMSJointT1Any"),
}
_SEQUENCE_OF = {spelling: sequence for sequence, spellings in _SPELLINGS.items() for spelling in spellings}


def sequence_of(channel_name: str) -> str:
    """Return the sequence that a channel name stands for ("T2w" -> "t2"); unknown names come back in lower case.

    Examples
    --------
    >>> sequence_of("T2w"), sequence_of("T1-Gd"), sequence_of("QSM")
    ('t2', 't1post', 'qsm')
    """
    plain = "".join(character for character in channel_name.lower() if character.isalnum())
    return _SEQUENCE_OF.get(plain, plain)


def channel_indices(channel_names: Sequence[str], wanted: Sequence[str], what: str) -> tuple[int, ...]:
    """Indices of the `wanted` sequences among the channels.

    Raises
    ------
    ModelError
        If a sequence is missing or stands twice; the message names `what` needs it.

    Examples
    --------
    >>> channel_indices(["T1w", "FLAIR", "T2w"], ["flair", "t2"], "the second arm")
    (1, 2)
    >>> channel_indices(["T1w", "FLAIR"], ["flair", "t2"], "the second arm")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: the second arm needs one channel each of ['flair', 't2'], found channels ...
    """
    sequences = [sequence_of(name) for name in channel_names]
    wrong = [name for name in wanted if sequences.count(name) != 1]
    if wrong:
        other = fitting_trainer(channel_names, what)
        fits = f"Train with -tr {other}, which these channels fit; or, where" if other else "Where"
        raise ModelError(
            f"{what} needs one channel each of {list(wanted)}, found channels {list(channel_names)} "
            f"({', '.join(wrong)} missing or twice). {fits} the scans have all of them, convert with "
            f"--channels {','.join(wanted)}."
        )
    return tuple(sequences.index(name) for name in wanted)


def refuse_absent(dataset_json: Mapping[str, Any], trainer: str) -> None:
    """Refuse a dataset some of whose cases lack sequences (`nnunet-ms-convert --may-lack`).

    Raises
    ------
    ModelError
        If there are such; the message names `trainer` and which ones take them.

    Examples
    --------
    >>> refuse_absent({"absent": {"P2": ["t2"]}}, "nnUNetTrainerMSMultiArmSmall")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: nnUNetTrainerMSMultiArmSmall needs all sequences of every case, found 1 that ...
    """
    lacking = dataset_json.get("absent") or {}
    if not lacking:
        return
    first, names = next(iter(lacking.items()))
    size = next((word for word in ("Small", "Tiny") if word in trainer), "")
    fits = f"Train with -tr {ANY_SEQUENCE[_task(trainer)]}{size}, or convert" if _task(trainer) else "Convert"
    raise ModelError(
        f"{trainer} needs all sequences of every case, found {len(lacking)} that lack some ({first} has no "
        f"{', '.join(names)}), whose channels are zeros. {fits} without --may-lack."
    )


def _task(trainer: str) -> str:
    return next((name for name in ANY_SEQUENCE if trainer.startswith(name)), "")


def fitting_trainer(channel_names: Sequence[str], trainer: str) -> str:
    """Trainer of T2 lesions, of the same size as `trainer`, that the channels fit; blank for trainers of another task.

    Examples
    --------
    >>> fitting_trainer(["flair", "t1"], "nnUNetTrainerMSMultiArmSmall")
    'nnUNetTrainerMSFlairT1Small'
    >>> fitting_trainer(["flair"], "nnUNetTrainerMSMultiArm")
    'nnUNetTrainerMSPlain'
    """
    if not trainer.startswith(_OF_T2):
        return ""
    size = next((word for word in ("Small", "Tiny") if word in trainer), "")
    has_both = {"flair", "t1"} <= {sequence_of(name) for name in channel_names}
    return f"nnUNetTrainerMSFlairT1{size}" if has_both and "FlairT1" not in trainer else f"nnUNetTrainerMSPlain{size}"
