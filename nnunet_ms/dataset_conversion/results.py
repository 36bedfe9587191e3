"""What a conversion, and a check of a source, hand back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nnunet_ms.parallel import Failure


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote, or with `dry_run` would write.

    Parameters
    ----------
    folder : Path
        The dataset.
    cases, patients : tuple of str
        Ids of the cases, in the order of the source, and of their patients, sorted.
    failures : tuple of Failure
        Cases that were left out, each with its reason.
    notes : tuple of str
        What a user should know: what was resampled, masks that overlap, tables that came along.
    resampled : dict
        Case id -> channels that were resampled onto the first one's grid. Empty with `steps`: provenance/ then says
        what was done to every case.
    flagged : tuple of Failure
        Pairs that were written although they are unlike after registration; empty where that is accepted.
    written : bool
        False with `dry_run`.
    """

    folder: Path
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    resampled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    written: bool = True
    flagged: tuple[Failure, ...] = ()

    def summary(self) -> str:
        """One line, as the command prints it.

        Examples
        --------
        >>> Conversion(Path("raw/Dataset801_Trial"), ("P1_base", "P1_w24"), ("P1",)).summary()
        'wrote raw/Dataset801_Trial: 2 cases of 1 patients, 0 left out'
        """
        return (
            f"{'wrote' if self.written else 'would write'} {self.folder}: {len(self.cases)} cases of "
            f"{len(self.patients)} patients, {len(self.failures)} left out"
            + (f", {len(self.flagged)} poorly registered" if self.flagged else "")
        )


@dataclass(frozen=True)
class Problem:
    """One thing to know about a case: an `error` keeps it out of a dataset, a `note` does not."""

    severity: Literal["error", "note"]
    case: str
    problem: str


@dataclass(frozen=True)
class SourceCheck:
    """The cases of a source (their number) and their problems, errors first, then by case."""

    cases: int
    problems: tuple[Problem, ...]

    @property
    def failed(self) -> frozenset[str]:
        """Cases with errors."""
        return frozenset(problem.case for problem in self.problems if problem.severity == "error")
