"""Which channel is which sequence: arms are chosen by the channel names of dataset.json, never by their order."""

from collections.abc import Sequence

from nnunet_ms.errors import ModelError

_SPELLINGS = {
    "flair": ("flair", "t2flair", "t2wflair"),
    "t2": ("t2", "t2w"),
    "t1": ("t1", "t1w", "t1p", "t1pre"),
    "t1post": ("t1post", "t1wgd", "t1gd", "t1c", "t1ce"),
    "qsm": ("qsm", "chi", "chimap", "susceptibility", "susceptibilitymap"),
}
_OF_T2 = ("nnUNetTrainerMSMultiArm", "nnUNetTrainerMSSingleArm", "nnUNetTrainerMSFlairT1")
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
