"""Source `folder`: any tree of files, whose names the user describes by patterns (`patterns`)."""

from collections.abc import Mapping
from dataclasses import replace

from nnunet_ms.dataset_conversion.cases import JOINT_T1, Case, DatasetInfo, Mask, choose
from nnunet_ms.dataset_conversion.rim_masks import LABELS, PARTS, RIMS, TARGET, with_rim_mask
from nnunet_ms.dataset_conversion.sources.absence import known_channels
from nnunet_ms.dataset_conversion.sources.archive import CONSENSUS, Archive, Names, find_archive_cases
from nnunet_ms.dataset_conversion.sources.patterns import BRAIN, Patterns, expression, has_weeks
from nnunet_ms.dataset_conversion.sources.source import Request, Source
from nnunet_ms.errors import ConversionError
from nnunet_ms.tables import REFERENCE_MASKS

MASKS = (*REFERENCE_MASKS, "new_lesions", "resolved_lesions", "change", "lesions", RIMS, LABELS)


def find_cases(request: Request) -> list[Case]:
    """Cases of a folder by patterns, one per patient and visit; names only, nothing is read.

    A visit takes the first pattern of a sequence that one of its files matches. Without a pattern for the target's
    mask, all cases are there to be predicted.

    Raises
    ------
    ConversionError
        If there is no pattern, a channel has none, or no file matches.

    Examples
    --------
    >>> Path("scans/P07").mkdir(parents=True)
    >>> for name in ("P07_w0_flair", "P07_w24_flair", "P07_w24_lesions"):
    ...     Path(f"scans/P07/{name}.nii.gz").touch()
    >>> words = {"flair": "{patient}/*_w{week}_flair.nii.gz", "t2_lesions": "{patient}/*_w{week}_lesions.nii.gz"}
    >>> [(case.case_id, case.week, case.label is None) for case in find_cases(SOURCE.request("scans", patterns=words))]
    [('P07_0', 0.0, True), ('P07_24', 24.0, False)]
    """
    archive = archive_of(request)
    cases = [_finished(case, request.target) for case in find_archive_cases(archive, request)]
    if not has_weeks(request.patterns):
        return cases
    return [replace(case, week=float(case.visit)) if case.images or case.label else case for case in cases]


def archive_of(request: Request) -> Archive:
    """The archive that a request's patterns describe.

    Raises
    ------
    ConversionError
        If there is no pattern, or a channel has none.
    """
    patterns = request.patterns
    if not patterns:
        raise ConversionError(
            f"{request.path}: --pattern: expected a pattern per sequence, such as 'flair={{patient}}/*FLAIR*.nii.gz', "
            "found none. nnunet-ms-convert guess SOURCE proposes some."
        )
    known = known_channels(request, channels_of(patterns, request.target))
    choose(request.channels, known, "--channels", request.path)
    is_rim = request.target == TARGET
    masks = [name for name in (PARTS if is_rim else request.target.split(",")) if name in patterns]
    raters = {name if len(masks) > 1 or is_rim else CONSENSUS: _expressions(patterns, name) for name in masks}
    return Archive(
        images={name: _expressions(patterns, name) for name in channels_of(patterns, request.target)},
        masks={request.target: raters},
        expected="files that match "
        + ", ".join(f"{name}={patterns[name][0]}" for name in request.channels if name in patterns),
        brain_mask=_expressions(patterns, BRAIN) if BRAIN in patterns else None,
    )


def channels_of(patterns: Patterns, target: str) -> tuple[str, ...]:
    """Names of the patterns that are sequences, in their order: neither masks nor brain masks.

    Examples
    --------
    >>> channels_of({"t1": (), "flair": (), "t2_lesions": (), "brain_mask": ()}, "t2_lesions")
    ('t1', 'flair')
    """
    others = {*MASKS, *target.split(","), BRAIN}
    return tuple(name for name in patterns if name not in others)


def _expressions(patterns: Mapping[str, tuple[str, ...]], name: str) -> Names:
    return tuple(expression(pattern) for pattern in patterns[name])


def _finished(case: Case, target: str) -> Case:
    """The two masks of the joint T1 task are two labels, and one without the other is a problem; rims: `rim_masks`."""
    if target == TARGET and not case.problem:
        return with_rim_mask(case, {} if case.label is None else case.label.files)
    names = target.split(",")
    if len(names) < 2 or case.label is None or case.problem:
        return case
    missing = [name for name in names if name not in case.label.files]
    if missing or target != JOINT_T1:
        what = f"found no mask {missing}" if missing else f"--target {target}: expected one mask, or {JOINT_T1}"
        return replace(
            case, problem=f"patient {case.patient_id} visit {case.visit or 1}: {what}. Add it, or correct it."
        )
    return replace(case, label=Mask({name: case.label.files[name] for name in names}, "classes"))


def _complete(request: Request) -> Request:
    return request if request.channels else replace(request, channels=channels_of(request.patterns, request.target))


SOURCE = Source(
    kind="folder",
    info=DatasetInfo(name="Folder", description="Scans of a folder, found by patterns of their names"),
    channels=(),
    target="t2_lesions",
    find=find_cases,
    takes=("patterns",),
    complete=_complete,
)
