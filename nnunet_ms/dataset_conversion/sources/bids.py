"""Source `bids`: a BIDS data set with lesion masks among its derivatives (https://bids-specification.readthedocs.io)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo
from nnunet_ms.dataset_conversion.rim_masks import LABELS, RIMS, TARGET, with_rim_mask
from nnunet_ms.dataset_conversion.sources.annex import missing_content
from nnunet_ms.dataset_conversion.sources.archive import NIFTI, Archive, cases_among, check_words, walk_files
from nnunet_ms.dataset_conversion.sources.bids_tables import read_clinical, write_clinical
from nnunet_ms.dataset_conversion.sources.source import OF_ARCHIVES, Request, Source
from nnunet_ms.errors import ConversionError

# sub-01/ses-02/anat/sub-01_ses-02_acq-3d_FLAIR.nii.gz; entities between session and suffix may be any
_STEM = r"sub-(?P<patient>[0-9A-Za-z]+)/(?:ses-(?P<visit>[0-9A-Za-z]+)/)?anat/sub-(?P=patient)(?:_ses-[0-9A-Za-z]+)?"
_ENTITIES = r"(?:_(?!ce-)[a-z]+-[0-9A-Za-z]+)*"
_ANY = r"(?:_[a-z]+-[0-9A-Za-z]+)*"
_CE = rf"{_ENTITIES}_ce-[0-9A-Za-z]+{_ENTITIES}"
_DERIVATIVE = rf"derivatives/(?:[^/]+/)*{_STEM}"
_OF_IMAGE = r"(?:_(?:T1w|T2w|FLAIR))?"


def _mask(names: str, abbreviation: str = "") -> str:
    """Expression of a mask that carries one of the names, among the derivatives or beside its image.

    `label-lesion_mask`, `desc-lesion_dseg`, `T1w_label-lesion_roi` (fMRIPrep), `seg-lesion`, `FLAIR_lesion-manual`; and
    `label-` with the abbreviation that BIDS has for it.
    """
    short = rf"|label-{abbreviation}" if abbreviation else ""
    named = rf"(?:(?:label|desc|seg)-(?:{names}){short}){_ANY}_(?:mask|dseg|roi|seg)"
    plain = rf"(?:seg-)?(?:{names})(?:-[0-9A-Za-z]+)*(?:_(?:mask|seg))?"
    return rf"(?:derivatives/(?:[^/]+/)*)?{_STEM}{_ANY}{_OF_IMAGE}{_ANY}_(?:{named}|{plain}){NIFTI}"


_LESIONS = "lesions?|t2lesions?|wmh|lesionmask"
LOOKED_FOR = "label-lesion, label-L, desc-lesion or label-wmh before _mask, _dseg or _roi, or _lesion-manual"
# where a mask may lie: the image's own space under the names that tools give it
_TEMPLATES = re.compile(r"_space-(MNI|ICBM|fs|OASIS|Talairach|UNC|NIHPD|IXI)", re.IGNORECASE)
_MASK_LIKE = re.compile(r"lesion|wmh|mask|dseg|roi|seg", re.IGNORECASE)

ARCHIVE = Archive(
    images={
        "flair": rf"{_STEM}{_ENTITIES}_FLAIR{NIFTI}",
        "t2": rf"{_STEM}{_ENTITIES}_T2w{NIFTI}",
        "t1": rf"{_STEM}{_ENTITIES}_T1w{NIFTI}",
        "t1post": rf"{_STEM}{_CE}_T1w{NIFTI}",
        "qsm": rf"(?:derivatives/(?:[^/]+/)*)?{_STEM}{_ENTITIES}_(?:Chimap|QSM){NIFTI}",
    },
    masks={
        "t2_lesions": {"consensus": _mask(_LESIONS, "L")},
        "t1_enhancing": {"consensus": _mask("t1enhancing|enhancing")},
        "t1_unenhancing": {"consensus": _mask("t1unenhancing|unenhancing|blackhole")},
        TARGET: {"t2_lesions": _mask(_LESIONS, "L"), RIMS: _mask("rims?|prl"), LABELS: _mask("rimlabels?|prllabels?")},
    },
    expected="files like sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz and derivatives/NAME/sub-01/ses-01/anat/"
    "sub-01_ses-01_label-lesion_mask.nii.gz",
    brain_mask=rf"{_DERIVATIVE}{_ANY}_(?:label|desc)-brain{_ANY}_mask{NIFTI}",
)
_LONG = {"acquisition": "acq", "reconstruction": "rec", "ceagent": "ce", "direction": "dir"}


def find_cases(request: Request) -> list[Case]:
    """Cases of a BIDS data set, one per session; see `archive.find_archive_cases`.

    Weeks come from sessions.tsv, sites from participants.tsv. The request's `prefer` chooses where a session has
    several files of one sequence: `run=last`, `run=1`, `acq=3d`, for one channel `flair.acq=3d`, several with commas,
    used in turn; `mask.desc=expert1` of several masks.

    Raises
    ------
    ConversionError
        As `archive.find_archive_cases`, or if `prefer` cannot be understood.
    TableError
        If one of the two tables cannot be read.
    """
    rules = parse_preferences(request.prefer, request.path)
    check_words(ARCHIVE, request)
    files, left_out = walk_files(request.path)
    cases = _with_masks_of_no_session(cases_among(ARCHIVE, request, files, partial(_chosen, rules=rules)))
    if request.target == TARGET:
        cases = [with_rim_mask(case, {} if case.label is None else case.label.files) for case in cases]
    clinical = read_clinical(request.path)
    unmasked = _without_mask(request, files, cases)
    return [
        *(
            replace(
                _checked(case, request.path),
                week=clinical.week_of.get((case.patient_id, case.visit)),
                site=clinical.site_of.get(case.patient_id, case.site),
                remark=case.remark or ("" if case.label else unmasked),
            )
            for case in cases
        ),
        *left_out,
    ]


def _with_masks_of_no_session(cases: Sequence[Case]) -> list[Case]:
    """Give a mask whose name says no session to the only session of its patient; name it where there are several."""
    alone = {case.patient_id: case for case in cases if case.label and not case.images and not case.visit}
    sessions = {name: [case for case in cases if case.patient_id == name and case.images] for name in alone}
    result = []
    for case in cases:
        of, mask = sessions.get(case.patient_id, []), alone.get(case.patient_id)
        if mask is not None and case is not mask and len(of) == 1 and case.label is None:
            result.append(replace(case, label=mask.label, remark="with a mask that names no session, the only one"))
        elif mask is None or case is not mask:
            result.append(case)
        elif len(of) != 1 or of[0].label is not None:
            visits = ", ".join(f"ses-{one.visit}" for one in of) or "no session"
            files = ", ".join(path.name for path in mask.files().values())
            problem = (
                f"{files}: expected a mask of one session, found none in its name beside {visits}. Add ses- to it."
            )
            result.append(replace(case, problem=problem))
    return result


def _chosen(channel: str, paths: list[str], rules: Sequence["Preference"]) -> list[str]:
    """Keep what the rules prefer; of masks (`mask.` in a rule) those in the image's own space before a template's."""
    if channel in ARCHIVE.images:
        return preferred(channel, paths, rules)
    own = [path for path in paths if not _TEMPLATES.search(path)] or paths
    return preferred("mask", own, rules)


def _checked(case: Case, source: Path) -> Case:
    """Name what is wrong with a case's files before they are read."""
    if case.problem:
        several = "Remove all but one."
        choice = "Choose with --prefer, such as run=last, acq=3d or mask.desc=expert1, or remove all but one."
        return replace(case, problem=case.problem.replace(several, choice))
    for name, path in case.files().items():
        if why := missing_content(path):
            return replace(case, problem=f"{path}: {name}: {why}, or leave this session out.")
    masks = case.label.files.values() if case.label else ()
    foreign = next((path for path in masks if _TEMPLATES.search(path.name)), None)
    if foreign is not None:
        return replace(
            case,
            problem=f"{foreign.relative_to(source)}: expected a mask in the space of its image (no space-, or "
            "space-orig), found one in a template's. Bring it back, or remove it.",
        )
    return case


def _without_mask(request: Request, files: Sequence[str], cases: Sequence[Case]) -> str:
    """What to say of sessions without a mask: under which names one is looked for, and what was passed over."""
    taken = {path.relative_to(request.path).as_posix() for case in cases for path in case.files().values()}
    like = [path for path in files if re.search(NIFTI + "$", path) and _MASK_LIKE.search(path.rpartition("/")[2])]
    passed = [path for path in like if path not in taken and "brain" not in path]
    names = LOOKED_FOR if request.target == "t2_lesions" else f"label- or desc- with the name of {request.target}"
    found = f"; passed over were files such as {passed[0]}" if passed else ""
    return f"without a mask of {request.target}, looked for {names}, among derivatives and beside the images{found}"


def write_tables(source: Path, folder: Path) -> list[str]:
    """Write the clinical tables and the description of a data set into a folder; return what to tell the user."""
    clinical = read_clinical(source)
    written = write_clinical(clinical, folder)
    description = source / "dataset_description.json"
    if description.is_file():  # licence and authors, for what is made of the images (`back`)
        (folder / "source_description.json").write_bytes(description.read_bytes())
    return [*(f"with {name} from the tables of {source.name}" for name in written), *clinical.notes]


@dataclass(frozen=True)
class Preference:
    """Keep files whose `entity` has this `value` (or the `first` or `last` one); `channel` blank means every one."""

    channel: str
    entity: str
    value: str


def parse_preferences(text: str, source: Path) -> list[Preference]:
    """Parse `run=last,flair.acq=3d`; ConversionError if it is something else.

    Examples
    --------
    >>> parse_preferences("run=last, flair.acq=3d", Path("bids"))
    [Preference(channel='', entity='run', value='last'), Preference(channel='flair', entity='acq', value='3d')]
    """
    rules = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = re.fullmatch(r"(?:(?P<channel>[a-z0-9]+)\.)?(?P<entity>[a-z]+)=(?P<value>[0-9A-Za-z]+)", part)
        if not match:
            raise ConversionError(
                f"{source}: --prefer {part}: expected entities like run=last or flair.acq=3d, with commas between. "
                "Correct --prefer."
            )
        found = match.groupdict()
        entity = _LONG.get(found["entity"], found["entity"])
        rules.append(Preference(found["channel"] or "", entity, found["value"]))
    return rules


def preferred(channel: str, paths: list[str], rules: Sequence[Preference]) -> list[str]:
    """Of several files of a session, those that the rules keep; a rule that fits none of them is passed over.

    Examples
    --------
    >>> paths = [f"sub-1_run-{run}_FLAIR.nii.gz" for run in (1, 2, 10)]
    >>> preferred("flair", paths, [Preference("", "run", "last")])
    ['sub-1_run-10_FLAIR.nii.gz']
    """
    for rule in rules:
        if len(paths) < 2 or rule.channel not in ("", channel):
            continue
        values = {path: _entity(path, rule.entity) for path in paths}
        if rule.value in ("first", "last"):
            there = sorted({value for value in values.values() if value}, key=_order)
            wanted = there[0 if rule.value == "first" else -1] if there else ""
        else:
            wanted = _plain(rule.value)
        paths = [path for path in paths if values[path] and values[path] == wanted] or paths
    return paths


def _entity(path: str, entity: str) -> str:
    match = re.search(rf"_{entity}-([0-9A-Za-z]+)", path.rpartition("/")[2])
    return _plain(match[1]) if match else ""


def _plain(value: str) -> str:
    return str(int(value)) if value.isdecimal() else value.lower()  # run-01 and run-1 are one


def _order(value: str) -> tuple[bool, int, str]:
    return (not value.isdecimal(), int(value) if value.isdecimal() else 0, value)


SOURCE = Source(
    kind="bids",
    info=DatasetInfo(
        name="BIDS", description="A BIDS data set; see its dataset_description.json for authors and licence"
    ),
    channels=("flair", "t2", "t1"),
    target="t2_lesions",
    find=find_cases,
    takes=(*OF_ARCHIVES, "prefer"),
    write_tables=write_tables,
)
