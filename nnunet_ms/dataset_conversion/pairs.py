"""Two visits become one case: which two, what of them a network sees, and what it learns. By names only.

Sources of two sorts: those with a case per visit (a mask of lesions for each), whose visits are put in order here; and
those that hand both visits over together with a mask of change (`Source.pair_targets`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from nnunet_ms.dataset_conversion.cases import Case, Mask, Pair, names_of, place_in_time
from nnunet_ms.dataset_conversion.sources.source import Source
from nnunet_ms.errors import ConversionError
from nnunet_ms.options import chosen, switch

Pairing = Literal["consecutive", "baseline"]
Space = Literal["baseline", "halfway"]
Registration = Literal["", "rigid", "greedy", "published", "none"]
PairChannels = Literal["subtraction", "visits", "all"]
PairTarget = Literal["new", "new_or_enlarging", "all"]

BASELINE, FOLLOWUP = "_baseline", "_followup"
SUBTRACTION = "_subtraction"
LABELS: Mapping[str, tuple[str, ...]] = {
    "new": ("lesion",),
    "new_or_enlarging": ("lesion",),
    "all": ("new", "enlarging", "resolved", "shrinking"),
}
OF_SIGN = ("new_or_enlarging", "resolved_or_shrinking")  # all that the sign of the change of intensity tells


@dataclass(frozen=True)
class PairOptions:
    """How visits are paired and prepared.

    Parameters
    ----------
    pairs : {"consecutive", "baseline"}
        Every visit with the one before, or with the patient's first one.
    space : {"baseline", "halfway"}, optional
        Where the pair lies: on the baseline's grid, or between the two, so that neither is interpolated more.
    registration : {"", "rigid", "greedy", "published", "none"}, optional
        SimpleITK or picsl-greedy, both rigid; the source's own transforms, or its common space; or the headers'
        positions. Blank: `published` where the source has that, else `rigid`.
    channels : {"subtraction", "visits", "all"}, optional
        What the network sees of each sequence: follow-up minus baseline, both visits, or all three.
    target : {"new", "new_or_enlarging", "all"}, optional
        What becomes the label; None: what the source offers first, `new` where each visit has a mask of its lesions.
    accept_poor_registration : bool, optional
        Whether pairs that are still unlike after registration are no failure.
    lesions : str, optional
        What the masks of both visits are of, of `tables.REFERENCE_MASKS`; blank: T2 lesions. Predictions are told so.

    Raises
    ------
    OptionError
        If a word is unknown.

    Examples
    --------
    >>> PairOptions("consecutive").names(["flair"])
    ('flair_subtraction',)
    >>> PairOptions("baseline", channels="all").names(["flair", "t1"])[:4]
    ('flair_subtraction', 'flair_baseline', 'flair_followup', 't1_subtraction')
    """

    pairs: Pairing
    space: Space = "baseline"
    registration: Registration = ""
    channels: PairChannels = "subtraction"
    target: PairTarget | None = None
    accept_poor_registration: bool = False
    lesions: str = ""

    def __post_init__(self) -> None:
        chosen(self.pairs, get_args(Pairing), "pairs")
        chosen(self.space, get_args(Space), "space")
        chosen(self.registration, get_args(Registration), "registration")
        chosen(self.channels, get_args(PairChannels), "pair_channels")
        switch(self.accept_poor_registration, "accept_poor_registration")
        if self.target is not None:
            chosen(self.target, get_args(PairTarget), "target")

    def names(self, sequences: Sequence[str]) -> tuple[str, ...]:
        """Channels of the dataset, in their order, for the sequences of a visit."""
        endings = {"subtraction": [SUBTRACTION], "visits": [BASELINE, FOLLOWUP]}
        endings["all"] = [*endings["subtraction"], *endings["visits"]]
        return tuple(f"{name}{ending}" for name in sequences for ending in endings[self.channels])


def pair_options(pairs: str, **words: Any) -> PairOptions | None:
    """Options from their words; None without `pairs`.

    Raises
    ------
    OptionError
        As `PairOptions`.
    ConversionError
        If a word is given that is about pairs, without `pairs`.

    Examples
    --------
    >>> pair_options("", space="baseline") is None
    True
    >>> pair_options("", space="halfway")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ConversionError: --space halfway: expected --pairs consecutive or baseline beside it, ...
    """
    if pairs:
        return PairOptions(pairs, **words)  # type: ignore[arg-type]  # a user's word: checked there
    usual = {field.name: field.default for field in fields(PairOptions)}
    for name, value in words.items():
        if name != "target" and value != usual[name]:
            option = {"channels": "pair-channels"}.get(name, name.replace("_", "-"))
            said = f"--{option}" if value is True else f"--{option} {value}"
            raise ConversionError(
                f"{said}: expected --pairs consecutive or baseline beside it, found none. Add --pairs, or leave it out."
            )
    return None


def words_of_visits(source: Source, options: PairOptions, words: Mapping[str, Any], lesions: str) -> dict[str, Any]:
    """What is asked of a source: sequences of both visits where it hands them over together, and its own target.

    Parameters
    ----------
    source : Source
        The kind.
    options : PairOptions
        With the target of the pairs.
    words : mapping
        Of `Source.request`; `channels` are the sequences of one visit.
    lesions : str
        Mask that the change is made from; blank: the kind's.

    Raises
    ------
    ConversionError
        If the source cannot tell what the target asks for.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.sources.msseg2_2021 import SOURCE
    >>> words_of_visits(SOURCE, PairOptions("consecutive"), {"channels": "flair"}, "")
    {'channels': ('flair_baseline', 'flair_followup'), 'target': 'new_lesions'}
    """
    if not source.pair_targets:
        return {**words, "target": lesions or None}
    target: str = options.target or next(iter(source.pair_targets))
    if target not in source.pair_targets or lesions:
        raise ConversionError(
            f"--target {target}{' --lesions ' + lesions if lesions else ''}: expected one of "
            f"{list(source.pair_targets)} without --lesions, which is what the mask of {source.kind} tells. Choose one."
        )
    names = names_of(words.get("channels"))
    both = tuple(name + ending for name in names for ending in (BASELINE, FOLLOWUP))
    return {**words, "channels": both or None, "target": source.pair_targets[target]}


def sequences_of(source: Source, channels: Sequence[str]) -> tuple[str, ...]:
    """Sequences of one visit among the channels that were asked of a source."""
    if not source.pair_targets:
        return tuple(channels)
    return tuple(name.removesuffix(BASELINE) for name in channels if name.endswith(BASELINE))


def labels_of_pairs(source: Source, options: PairOptions) -> dict[str, int]:
    """Labels of dataset.json."""
    target: str = options.target or next(iter(source.pair_targets), "new")
    names = OF_SIGN if source.pair_targets and target == "all" else LABELS[target]
    return {"background": 0, **{name: value for value, name in enumerate(names, start=1)}}


def pair_cases(cases: Sequence[Case], source: Source, options: PairOptions) -> list[Case]:
    """One case per pair, called after the follow-up; who has no pair is a case with that problem.

    Parameters
    ----------
    cases : sequence of Case
        Of `source`, or of several of its sort.
    source : Source
        Says whether cases are visits or hold both.
    options : PairOptions
        Which visits are paired, and the target.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.sources.trial import SOURCE
    >>> image = {"flair": Path("flair.nii.gz")}
    >>> visits = [Case("P1", f"w{week}", week, image, None) for week in (48.0, 0.0, 24.0)]
    >>> for pairing in ("consecutive", "baseline"):
    ...     found = pair_cases([*visits, Case("P2", "w0", 0.0, image, None)], SOURCE, PairOptions(pairing))
    ...     [(case.case_id, case.pair and case.pair.baseline.visit) for case in found]
    [('P1_w24.0', 'w0.0'), ('P1_w48.0', 'w24.0'), ('P2_w0', None)]
    [('P1_w24.0', 'w0.0'), ('P1_w48.0', 'w0.0'), ('P2_w0', None)]
    """
    if source.pair_targets:
        target: str = options.target or next(iter(source.pair_targets))
        return [_split(case, target) for case in cases]
    of_patient: dict[str, list[Case]] = {}
    for case in cases:
        of_patient.setdefault(case.patient_id, []).append(case)
    return [pair for visits in of_patient.values() for pair in _pairs_of(visits, options)]


def _split(case: Case, target: str) -> Case:
    """A case that holds both visits, with the two as visits."""
    if case.problem:
        return case
    visits = [
        replace(
            case,
            visit=ending[1:],
            images={name.removesuffix(ending): path for name, path in case.images.items() if name.endswith(ending)},
            transforms={
                name.removesuffix(ending): way for name, way in case.transforms.items() if name.endswith(ending)
            },
            label=None,
        )
        for ending in (BASELINE, FOLLOWUP)
    ]
    return replace(case, pair=Pair(visits[0], visits[1], target, is_shared=True))


def _pairs_of(visits: Sequence[Case], options: PairOptions) -> Iterator[Case]:
    """Pairs of one patient's visits in the order of time."""
    if not visits[0].images and visits[0].problem and len(visits) == 1:  # a folder that could not be read
        yield visits[0]
        return
    if problem := _no_order(visits):
        yield replace(max(visits, key=place_in_time), problem=problem)
        return
    ordered = sorted(visits, key=place_in_time)
    for number, followup in enumerate(ordered[1:]):
        yield _paired(ordered[0 if options.pairs == "baseline" else number], followup, options)


def _no_order(visits: Sequence[Case]) -> str:
    """Why the visits of a patient make no pairs; blank if they do."""
    patient = visits[0].patient_id
    if len(visits) < 2:
        return (
            f"patient {patient}: found one visit ({visits[0].visit or 1}): a follow-up without a baseline, or a "
            "baseline without a follow-up, makes no pair. Add the other visit, or leave the patient out."
        )
    known = [case for case in visits if case.week is not None]
    if len(known) not in (0, len(visits)):
        missing = [case.visit for case in visits if case.week is None]
        return (
            f"patient {patient}: expected a week for every visit or for none, found none for {missing}. Without it "
            "nobody knows which visit came first. Fill it in."
        )
    weeks = [case.week for case in known]
    if len(set(weeks)) < len(weeks):
        twice = sorted({f"{week:g}" for week in weeks if week is not None and weeks.count(week) > 1})
        return (
            f"patient {patient}: expected visits in different weeks, found two in week {', '.join(twice)}. Correct the "
            "weeks, or keep one (a --rater, say)."
        )
    return ""


def _paired(baseline: Case, followup: Case, options: PairOptions) -> Case:
    names = [name for name in followup.images if name in baseline.images]
    images = {
        name + ending: case.images[name]
        for name in names
        for ending, case in ((BASELINE, baseline), (FOLLOWUP, followup))
    }
    problems = [f"baseline visit {baseline.visit}: {baseline.problem}"] if baseline.problem else []
    problems += [followup.problem] if followup.problem else []
    remarks = list(dict.fromkeys(filter(None, (baseline.remark, followup.remark, _told(baseline, followup)))))
    return replace(
        followup,
        images=images,
        label=_masks(baseline.label, followup.label),
        problem="; ".join(problems),
        site=followup.site or baseline.site,
        brain_mask=None,
        reference=None,
        transforms={},
        remark="; ".join(remarks),
        pair=Pair(baseline, followup, options.target or "new"),
    )


def _told(baseline: Case, followup: Case) -> str:
    """What to know of how a pair was made."""
    told = []
    if followup.week is None:
        told.append("paired in the order of the visits' names: no weeks are known")
    if (baseline.label is None) != (followup.label is None):
        told.append("with a mask at one of the two visits only, so that there is no label of what changed")
    return ", and ".join(told)


def _masks(baseline: Mask | None, followup: Mask | None) -> Mask | None:
    if baseline is None or followup is None:
        return None
    both = (("baseline", baseline), ("followup", followup))
    return Mask(
        {
            f"{visit}_{name}" if len(mask.files) > 1 else visit: p
            for visit, mask in both
            for name, p in mask.files.items()
        },
        "visits",
    )
