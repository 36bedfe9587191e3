"""Read the files of every case before anything is written: geometry, voxels, labels, files in another's place."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_ms.dataset_conversion.cases import LABEL, Case, Pair
from nnunet_ms.dataset_conversion.checks.look import Look, look_at_brain, look_at_images, look_at_mask
from nnunet_ms.dataset_conversion.checks.misplaced_files import (
    Content,
    check_different,
    copies_between_patients,
)
from nnunet_ms.dataset_conversion.checks.plausibility import notes_of
from nnunet_ms.dataset_conversion.labels import CHANGE_RULES, check_inside_brain, is_copied, read_label
from nnunet_ms.dataset_conversion.resume_notes import fingerprint, recall, remember
from nnunet_ms.dataset_conversion.rim_masks import is_of_rims, is_table
from nnunet_ms.dataset_conversion.steps import NO_STEPS, Steps
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.brain_mask import given_mask
from nnunet_ms.images.forms import NOISE_MM, largest_distance
from nnunet_ms.images.grids import is_turned, onto_grid
from nnunet_ms.images.headers import Header, check_header
from nnunet_ms.images.volumes import Grid, check_same_grid, same_grid
from nnunet_ms.images.zero_level import outside_words
from nnunet_ms.parallel import Outcome, Workers, map_cases

ENHANCING = 2  # label of enhancing lesions in the joint T1 task, and of rims


@dataclass(frozen=True)
class CheckedCase:
    """A case whose files were read; `resampled` are channels not on the first channel's grid, `bytes` their sizes.

    `recoded` says that the label is no copy of a file: the mask holds floating-point numbers, or the label is made
    from several files. `remark` is for the user. `contents` are checksums of the images, by channel. `rewritten` says
    of channels, and of `label`, why they are written anew where they would have been copied. `appearance` is what the
    channels show, see `images.appearance`; `shape` and `spacing` (mm) are of the case's grid.
    """

    case: Case
    resampled: tuple[str, ...]
    recoded: bool
    bytes: int
    remark: str = ""
    contents: Mapping[str, Content | None] = field(default_factory=dict)
    rewritten: Mapping[str, str] = field(default_factory=dict)
    appearance: Mapping[str, Any] = field(default_factory=dict)
    shape: Sequence[int] = ()
    spacing: Sequence[float] = ()


def check_cases(
    cases: Sequence[Case],
    *,
    headers_only: bool = False,
    steps: Steps = NO_STEPS,
    accept: Sequence[str] = (),
    workers: Workers = 1,
    memory: Path | None = None,
) -> Outcome[CheckedCase]:
    """Check every case; bad cases become failures, the others go on.

    Parameters
    ----------
    cases : sequence of Case
        What a source found.
    headers_only : bool, optional
        Whether the voxels of whatever is copied are believed, unread.
    steps : Steps, optional
        What will be done to the images: which of them need a brain mask.
    accept : sequence of str, optional
        Of `plausibility.ACCEPTABLE`: what is a note instead of an error.
    workers : int or Dask, optional
        See `parallel.map_cases`.
    memory : Path, optional
        Folder for notes, so that a run after a killed one need not read again what did not change.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.sources.trial import SOURCE
    >>> _ = Path("study/P2/flair.nii.gz").write_bytes(b"no image")
    >>> outcome = check_cases(SOURCE.find(SOURCE.request("study/manifest.csv", "flair,t1")))
    >>> [checked.case.case_id for checked in outcome.results], [failure.case for failure in outcome.failures]
    (['P1_base', 'P3_base'], ['P2_base'])
    """
    check = partial(_recalled, headers_only=headers_only, steps=steps, accept=tuple(accept), memory=memory)
    outcome = map_cases(check, cases, name=lambda case: case.case_id, label="check", workers=workers)
    copies = copies_between_patients([(checked.case, checked.contents) for checked in outcome.results])
    if not copies:
        return outcome
    good = [checked for checked in outcome.results if checked.case.case_id not in copies]
    return Outcome(good, [*outcome.failures, *copies.values()])


def _recalled(
    case: Case, headers_only: bool, steps: Steps, accept: tuple[str, ...], memory: Path | None
) -> CheckedCase:
    if memory is None or case.problem:
        return check_case(case, headers_only=headers_only, steps=steps, accept=accept)
    how = {"headers_only": headers_only, "brain": [steps.apply_brain_mask, steps.n4], "accept": accept}
    how["align"] = bool(steps.align)
    note, key = memory / f"{case.case_id}.checked.json", fingerprint(case, how)
    found = recall(note, key)
    if found is None:
        checked = check_case(case, headers_only=headers_only, steps=steps, accept=accept)
        names = [one.name for one in fields(CheckedCase) if one.name != "case"]
        remember(note, key, json.loads(json.dumps({name: getattr(checked, name) for name in names})))
        return checked
    contents = {name: None if pair is None else (pair[0], pair[1]) for name, pair in found["contents"].items()}
    return CheckedCase(case, **{**found, "resampled": tuple(found["resampled"]), "contents": contents})


def check_case(
    case: Case, *, headers_only: bool = False, steps: Steps = NO_STEPS, accept: Sequence[str] = ()
) -> CheckedCase:
    """Check one case; the arguments are those of `check_cases`.

    Raises
    ------
    ConversionError
        If the converter already knew a problem with it, or the images or the mask cannot be what their names say and
        that is not accepted, see `plausibility`.
    ImageError
        If a file is missing, damaged, not 3-D, holds NaN, is another's copy, its header is absurd, the mask holds
        other values than it may, or lies on another grid than the first channel.
    """
    if case.problem:
        raise ConversionError(case.problem)
    if case.pair is not None and not case.pair.is_shared:
        return _check_visits(case, case.pair, headers_only=headers_only, steps=steps, accept=accept)
    _check_names(case)
    headers = {channel: check_header(path) for channel, path in case.images.items()}
    look = Look({name: header.content for name, header in headers.items()})
    if not headers_only:
        look = look_at_images(case, aligned_later=bool(steps.align))
    check_different(look.contents, case.images)
    grid = next(iter(headers.values())).grid if case.reference is None else check_header(case.reference).grid
    resampled = tuple(
        name for name, header in headers.items() if name in case.transforms or not same_grid(grid, header.grid)
    )
    recoded, remark, label = _check_label(case, grid, look, headers_only)
    copied = {name: header for name, header in headers.items() if name not in resampled}
    rewritten = {name: why for name, header in (copied | label).items() if (why := _why_rewritten(header, grid))}
    for name, level in look.outside.items():
        rewritten[name] = "; ".join(filter(None, [rewritten.get(name, ""), outside_words(level)]))
    _check_brain(case, grid, steps)
    if look.appearance:
        look_at_brain(case, look)
    size = sum(path.stat().st_size for path in case.files().values())
    remarks = [f"{', '.join(names)} written anew: {why}" for why, names in _by_reason(rewritten).items()]
    remarks = [*remarks, *filter(None, [remark]), *notes_of(look.findings, accept)]
    return CheckedCase(
        case, resampled, recoded, size, "; ".join(remarks), look.contents, rewritten, look.as_json(), *_sizes(grid)
    )


def _check_visits(case: Case, pair: Pair, *, headers_only: bool, steps: Steps, accept: Sequence[str]) -> CheckedCase:
    """Check both visits of a pair, each on its own grid, and that they are two."""
    looked = {"headers_only": headers_only, "steps": steps, "accept": accept}
    visits = [check_case(visit, **looked) for visit in (pair.baseline, pair.followup)]  # type: ignore[arg-type]
    contents = {
        f"{name}_{when}": content
        for when, visit in zip(("baseline", "followup"), visits, strict=True)
        for name, content in visit.contents.items()
    }
    check_different(contents, case.images)
    remarks = [f"visit {visit.case.visit}: {visit.remark}" for visit in visits if visit.remark]
    size = sum(visit.bytes for visit in visits)
    known = {name: content for name, content in contents.items() if name in case.images}
    return CheckedCase(
        case,
        resampled=(),
        recoded=True,
        bytes=size,
        remark="; ".join(remarks),
        contents=known,
        shape=visits[0].shape,
        spacing=visits[0].spacing,
    )


def _sizes(grid: Grid) -> tuple[list[int], list[float]]:
    return list(grid.shape), list(grid.spacing)


def _why_rewritten(header: Header, grid: Grid) -> str:
    """Why a file that lies on the case's grid cannot be copied; blank if it can."""
    if header.differs:
        return f"the source has {header.differs}"
    if header.grid.shape != grid.shape or is_turned(header.grid, grid):
        return "the source's axes are stored in another order or direction"
    apart = largest_distance(grid.shape, grid.affine, header.grid.affine)
    return "" if apart <= NOISE_MM else f"the source's header is {apart:.2g} mm beside the grid"


def _by_reason(rewritten: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, why in rewritten.items():
        found.setdefault(why, []).append(name)
    return found


def _check_names(case: Case) -> None:
    for path in case.files().values():
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise ConversionError(f"{path}: expected a file name in UTF-8, found other bytes. Rename it.") from error


def _check_brain(case: Case, grid: Grid, steps: Steps) -> None:
    if case.brain_mask is None and steps.apply_brain_mask:
        raise ConversionError(
            f"{case.case_id}: --apply-brain-mask: expected a brain mask, found none. Add it, or use --hd-bet "
            "or --brain deepbet."
        )
    if case.brain_mask is not None and (steps.apply_brain_mask or steps.n4):
        given_mask(case.brain_mask, grid, next(iter(case.images.values())))


def _check_label(case: Case, grid: Grid, look: Look, headers_only: bool) -> tuple[bool, str, dict[str, Header]]:
    """Whether the label is no copy, a remark, and the header of the mask if it is one file that could be copied."""
    if case.label is None:
        return False, "", {}
    image = str(case.reference or next(iter(case.images.values())))
    headers = {path: check_header(path) for path in case.label.files.values() if not is_table(path)}
    for path, header in headers.items():
        if case.label.rule in CHANGE_RULES or not is_turned(header.grid, grid):
            check_same_grid(grid, header.grid, image, str(path))
    recoded = not is_copied(case.label) or any(header.stored_as_float for header in headers.values())
    single = dict(zip([LABEL], headers.values(), strict=True)) if len(case.label.files) == 1 else {}
    if headers_only and not recoded:
        return False, "", single
    label, remark = read_label(case.label)
    label = label if case.label.rule in CHANGE_RULES else onto_grid(label, grid, image)
    if case.brain_mask is not None and case.label.rule not in CHANGE_RULES and label.data.max(initial=0) >= ENHANCING:
        check_inside_brain(label, ENHANCING, case.brain_mask, "rim" if is_of_rims(case.label) else "enhancing mask")
    if look.appearance and case.label.rule not in CHANGE_RULES:
        look_at_mask(case, look, label)
    return recoded, remark, single
