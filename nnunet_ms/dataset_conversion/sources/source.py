"""What a kind of source data is: its facts, its defaults, the options it takes, and how its cases are found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo, names_of
from nnunet_ms.dataset_conversion.sources.patterns import Patterns, Words, patterns_of

Option = Literal["rater", "variant", "prefer", "patterns"]
OF_ARCHIVES: tuple[Option, ...] = ("rater", "variant")


@dataclass(frozen=True)
class Request:
    """What is asked of a source.

    Parameters
    ----------
    path : Path
        The manifest or the folder.
    channels : tuple of str
        Sequences in their order; the first gives the grid.
    target : str
        Reference mask to learn.
    rater, variant, prefer : str, optional
        Options of some kinds (`Source.takes`); blank means the kind's default.
    patterns : mapping, optional
        Of the kind `folder`, see `patterns`.
    may_lack : tuple of str, optional
        Channels that a case may lack, see `absence`.
    """

    path: Path
    channels: tuple[str, ...]
    target: str
    rater: str = ""
    variant: str = ""
    prefer: str = ""
    patterns: Patterns = field(default_factory=dict)
    may_lack: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """Folder of the source: cases.csv names files below it."""
        return self.path if self.path.is_dir() else self.path.parent


@dataclass(frozen=True)
class Source:
    """One kind of source data; each module of this folder that is a kind has one, called `SOURCE`.

    Parameters
    ----------
    kind : str
        Its name, which is its module's.
    info : DatasetInfo
        What dataset.json says about it.
    channels : tuple of str
        Sequences that are taken where none are asked for.
    target : str
        Reference mask that is taken where none is asked for.
    find : callable
        Returns the cases for a `Request`, by the names of files only: nothing is read but tables. ConversionError
        where the source does not have its layout, or a channel, target or option is unknown.
    takes : tuple of {"rater", "variant", "prefer", "patterns"}, optional
        Options besides channels and target.
    complete : callable, optional
        Finishes a request: channels that follow from its other words.
    pair_targets : mapping, optional
        Of a kind whose cases hold both visits, as channels `..._baseline` and `..._followup`: what a pair can learn
        (`pairs.PairTarget`) -> the target that is asked for. The first is taken where none is named.
    write_tables : callable, optional
        Writes tables of the source (its path) into the new dataset (a folder); returns what to tell the user.
    """

    kind: str
    info: DatasetInfo
    channels: tuple[str, ...]
    target: str
    find: Callable[[Request], list[Case]]
    takes: tuple[Option, ...] = ()
    complete: Callable[[Request], Request] = lambda request: request
    pair_targets: Mapping[str, str] = field(default_factory=dict)
    write_tables: Callable[[Path, Path], list[str]] | None = None

    def request(
        self,
        path: str | Path,
        channels: str | Sequence[str] | None = None,
        target: str | None = None,
        rater: str = "",
        variant: str = "",
        prefer: str = "",
        patterns: Words = None,
        may_lack: str | Sequence[str] = (),
    ) -> Request:
        """What is asked of this source; channels (a list, or text with commas) and target are its own if not named.

        Examples
        --------
        >>> source = Source("scans", DatasetInfo("Scans"), ("flair", "t1"), "t2_lesions", find=lambda request: [])
        >>> source.request("scans").channels, source.request("scans", "t2, flair").channels
        (('flair', 't1'), ('t2', 'flair'))
        """
        names = names_of(channels) or self.channels
        words = (rater, variant, prefer, patterns_of(patterns), names_of(may_lack))
        return self.complete(Request(Path(path), names, target or self.target, *words))
