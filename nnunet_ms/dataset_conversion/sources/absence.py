"""Cases that lack sequences (`--may-lack`): which ones they may lack, and that what the target needs is there.

nnU-Net wants a file per channel, so an absent sequence is written as a channel of zeros.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from nnunet_ms.dataset_conversion.cases import JOINT_T1, Case, choose
from nnunet_ms.dataset_conversion.sources.source import Request, Source
from nnunet_ms.errors import ConversionError
from nnunet_ms.tables import SEQUENCES

# of these sequences one at least must be there: without it nobody sees the lesions of the target
NEEDED: Mapping[str, tuple[str, ...]] = {
    "t2_lesions": ("flair", "t2"),
    JOINT_T1: ("t1post",),
    "t1_enhancing": ("t1post",),
    "t1_unenhancing": ("t1",),
    "rim": ("qsm",),
}


def needed_of(target: str, channels: Iterable[str]) -> tuple[str, ...]:
    """Sequences among `channels` of which a case needs one at least; all of them where the target names none.

    Examples
    --------
    >>> needed_of("t2_lesions", ("flair", "t2", "t1")), needed_of("t2_lesions", ("t1",))
    (('flair', 't2'), ('t1',))
    """
    names = tuple(channels)
    return tuple(name for name in NEEDED.get(target, names) if name in names) or names


def check_may_lack(request: Request, source: Source) -> None:
    """Check what cases may lack.

    Raises
    ------
    ConversionError
        If a name is none of the channels or stands twice, no channel would be left to give the grid, or the cases of
        the source hold two visits each.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.sources.ms3seg import SOURCE
    >>> check_may_lack(SOURCE.request("scans", "flair,t1", may_lack="t2"), SOURCE)
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ConversionError: scans: --may-lack t2: expected different names among ['flair', 't1'], ...
    """
    if not request.may_lack:
        return
    if source.pair_targets:
        raise ConversionError(
            f"{request.path}: --may-lack {','.join(request.may_lack)}: expected cases of one visit, found "
            f"{source.kind}, whose cases are pairs: both visits need each sequence. Leave it out."
        )
    choose(request.may_lack, request.channels, "--may-lack", request.path)


def known_channels(request: Request, known: Iterable[str]) -> list[str]:
    """Names that --channels may hold: those of a source, and with --may-lack sequences that none of its cases has.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.sources.wmh2017 import SOURCE
    >>> known_channels(SOURCE.request("scans", "flair,t2,t1", may_lack="t2"), ("flair", "t1"))
    ['flair', 't1', 't2']
    """
    names = list(dict.fromkeys(known))
    return names + [name for name in request.may_lack if name in SEQUENCES and name not in names]


def told_absent(case: Case, request: Request) -> Case:
    """The case with the channels that it lacks, where it may; one that lacks what the target needs has that problem.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.sources.ms3seg import SOURCE
    >>> request = SOURCE.request("scans", may_lack="flair,t2,t1")
    >>> told_absent(Case("P1", "", None, {"flair": Path("flair.nii.gz")}, None), request).absent
    ('t2', 't1')
    >>> told_absent(Case("P1", "", None, {"t1": Path("t1.nii.gz")}, None), request).problem
    "patient P1 visit 1: expected one of ['flair', 't2'], which t2_lesions need, found ['t1']. Get one of them."
    """
    absent = tuple(name for name in request.channels if name not in case.images)
    if not request.may_lack or case.problem or not absent:
        return case
    needed = needed_of(request.target, request.channels)
    if not set(needed) & set(case.images):
        problem = (
            f"patient {case.patient_id} visit {case.visit or 1}: expected one of {list(needed)}, which "
            f"{request.target} need, found {list(case.images) or 'no image'}. Get one of them."
        )
        return replace(case, problem=problem)
    return replace(case, absent=absent)


def way_without(missing: Sequence[str], images: Iterable[str], request: Request) -> str:
    """The end of a message on missing sequences, where cases may lack them; blank where that is no way out.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.sources.ms3seg import SOURCE
    >>> way_without(["t2"], ["flair", "t1"], SOURCE.request("scans"))
    ' Or let cases lack it (--may-lack t2), for a trainer of any sequences.'
    >>> way_without(["flair", "t2"], ["t1"], SOURCE.request("scans"))
    ''
    """
    lacking = [*request.may_lack, *(name for name in missing if name not in request.may_lack)]
    has_needed = set(needed_of(request.target, request.channels)) & set(images)
    if not has_needed or not set(missing) <= set(SEQUENCES) or request.target not in ("t2_lesions", JOINT_T1):
        return ""
    return f" Or let cases lack it (--may-lack {','.join(lacking)}), for a trainer of any sequences."


def notes_of_absence(cases: Sequence[Case], channels: Sequence[str]) -> list[str]:
    """A line per case that lacks sequences, and one per channel that no case has.

    Examples
    --------
    >>> flair = {"flair": Path("flair.nii.gz")}
    >>> for line in notes_of_absence([Case("P1", "", None, flair, None, absent=("t1",))], ["flair", "t1"]):
    ...     print(line)
    P1: no t1: a channel of zeros (--may-lack)
    t1: no case has it: a channel of zeros in all of them (--may-lack)
    """
    notes = [
        f"{case.case_id}: no {', '.join(case.absent)}: a channel of zeros (--may-lack)" for case in cases if case.absent
    ]
    nowhere = [name for name in channels if cases and all(name in case.absent for case in cases)]
    return notes + [f"{name}: no case has it: a channel of zeros in all of them (--may-lack)" for name in nowhere]
