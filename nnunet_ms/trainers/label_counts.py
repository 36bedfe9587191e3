"""What a training log says of the labels that its cases hold: a label that none has is learnt to be silent about."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import load_pickle


def lesion_labels(preprocessed: Path, case: str) -> set[int]:
    """Labels that a preprocessed case holds, without the background.

    Examples
    --------
    >>> import pickle
    >>> located = {"class_locations": {1: [(0, 2, 3, 4)], 2: []}}
    >>> _ = Path("P001.pkl").write_bytes(pickle.dumps(located))
    >>> lesion_labels(Path(), "P001")
    {1}
    """
    locations = load_pickle(str(preprocessed / f"{case}.pkl"))["class_locations"]
    return {label for label, found in locations.items() if len(found) > 0}


def told_of_labels(
    preprocessed: Path, train: Sequence[str], with_lesions: Sequence[str], labels: Mapping[str, int], fold: int | str
) -> tuple[dict[str, int], list[str]]:
    """Count the training cases that hold each label, and say it; a warning for each that none holds.

    Returns
    -------
    counts : dict
        Name of the label -> cases that hold it.
    lines : list of str
        For the log.
    """
    found = [lesion_labels(preprocessed, case) for case in with_lesions]
    counts = {name: sum(value in one for one in found) for name, value in labels.items()}
    lines = [f"Training cases: {len(train)}, with lesions: {counts}."]
    lines += [
        f"WARNING: no {name} lesion in any of the {len(train)} training cases of fold {fold}. The "
        f"training goes on, and of {name} the network learns only to stay silent: this model's masks and "
        f"probabilities say nothing about {name} lesions. Add scans that have some, or use another fold."
        for name, cases in counts.items()
        if cases == 0
    ]
    return counts, lines
