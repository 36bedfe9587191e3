"""What only the registration of two visits shows, for `nnunet-ms-convert check`: done as by a conversion, kept nowhere.

Another patient's scan, visits in the wrong order, a registration that fails: one visit alone does not show them.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.checks.check import CheckedCase
from nnunet_ms.dataset_conversion.new_lesions import why_poor, write_pair
from nnunet_ms.dataset_conversion.pairs import PairOptions
from nnunet_ms.dataset_conversion.steps import NO_STEPS
from nnunet_ms.parallel import Failure, Workers, map_cases


def check_pairs(
    cases: Sequence[CheckedCase],
    options: PairOptions,
    channels: Iterable[str],
    accept: tuple[str, ...] = (),
    workers: Workers = 1,
) -> list[Failure]:
    """Register and subtract every pair and write nothing.

    Parameters
    ----------
    cases : sequence of CheckedCase
        Pairs whose files are good.
    options : PairOptions
        As for the conversion.
    channels : iterable of str
        Of the dataset (`PairOptions.names`).
    accept : tuple of str, optional
        Of `plausibility.ACCEPTABLE`.
    workers : int or Dask, optional
        See `parallel.map_cases`.

    Returns
    -------
    list of Failure
        Pairs that a conversion would leave out, or write, flag and end with 1 for.

    Examples
    --------
    >>> check_pairs([], PairOptions("consecutive"), ["flair_subtraction"])
    []
    """
    try_pair = partial(_try, options=options, names=tuple(channels), accept=accept)
    outcome = map_cases(try_pair, [one.case for one in cases], lambda case: case.case_id, "pairs", workers)
    poor = [] if options.accept_poor_registration else [Failure(*found) for found in outcome.results if found[1]]
    return [*outcome.failures, *poor]


def _try(case: Case, options: PairOptions, names: tuple[str, ...], accept: tuple[str, ...]) -> tuple[str, str]:
    """Return the name of the case, and why it would be flagged; blank if it would not."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        targets = {name: folder / f"{number}.nii.gz" for number, name in enumerate(names)}
        files = folder / "label.nii.gz", folder / "record.json"
        found = write_pair(case, targets, *files, NO_STEPS, options, accept)
    return case.case_id, why_poor(case, found.correlation_before, found.correlation_after) if found.flag else ""
