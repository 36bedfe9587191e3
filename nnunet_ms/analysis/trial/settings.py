"""`trial.toml`: what a trial's tables are, what its arms and visits mean, and which conventions its numbers follow."""

from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast, get_args

from nnunet_ms.analysis.trial.adam_settings import AdamSettings, adam_settings, find_adam
from nnunet_ms.analysis.trial.populations import Populations, population_settings
from nnunet_ms.analysis.trial.published import PUBLISHED
from nnunet_ms.analysis.trial.report_settings import ReportSettings, report_settings
from nnunet_ms.analysis.trial.risk_strata import THRESHOLD
from nnunet_ms.analysis.trial.settings_section import Section, did_you_mean, read_sections
from nnunet_ms.analysis.trial.visit_windows import Window, window_settings
from nnunet_ms.dates import DayOrder
from nnunet_ms.disability.confirmed_progression import OUTCOMES, PRESETS, ProgressionRule
from nnunet_ms.errors import SettingsError
from nnunet_ms.lesions.rims import PRL_STRATA
from nnunet_ms.options import chosen
from nnunet_ms.statistics.count_model import Covariance
from nnunet_ms.statistics.cox import Ties
from nnunet_ms.statistics.design_matrix import Weights
from nnunet_ms.statistics.multiplicity import Within
from nnunet_ms.statistics.survival import FlatStep, Interval

Preset = Literal["r", "sas"]
# what is done before a logarithm where a volume is 0 ml: add to all volumes, set the zeros only, or leave them out
ZeroVolume = Literal["add_half_smallest_positive", "half_smallest_positive", "exclude"]
OutcomeSource = Literal["derive", "adtte"]
# what rates of new and enlarging lesions are per: the years that their counts cover, or the scans with a count
Exposure = Literal["years", "scans"]
ZERO_VOLUME, SOURCES, EXPOSURES = get_args(ZeroVolume), get_args(OutcomeSource), get_args(Exposure)
# endpoints with a main p value beside the outcomes of [disability]
IMAGING_ENDPOINTS = (
    *("t2_volume_percent_change", "enhancing_lesions", "new_t1_lesions"),
    *("new_t2_lesions", "enlarging_t2_lesions", "new_or_enlarging_t2_lesions"),
)

# names in the column `endpoint` that no outcome of ADTTE may take
RESERVED_ARMS = (
    *("intercept", "arm", "model", "log_tlv", "age_years", "edss < 4", "baseline_tlv", "log baseline", "lesion_count"),
    *("percent_reduction", "logrank", "logrank_stratified", "GLOBAL", "median", "shown", "all"),
    *("log_unenhancing_tlv", "unenhancing_lesion_count", "enhancing_lesion_count", "enhancing_present"),
)
RESERVED = (*IMAGING_ENDPOINTS, "disposition", "baseline", "populations", "multiplicity", "agreement", "concordance")


@dataclass(frozen=True)
class TablePaths:
    """The input files; None where the trial has none. With ADaM, `patients` is ADSL and `assessments` ADQS."""

    patients: Path
    visits: tuple[Path, ...] = ()  # none: clinical endpoints alone
    assessments: Path | None = None
    relapses: Path | None = None
    agreement: Path | None = None
    size_bin_figure: Path | None = None
    truth: Path | None = None
    times: Path | None = None  # ADTTE
    dates: DayOrder = "iso"  # what comes first in dates of our own tables that are not ISO 8601

    def named(self) -> dict[str, Path]:
        """Return the files that the settings name, by key."""
        single = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("visits", "dates")}
        several = {f"visits[{i}]" if len(self.visits) > 1 else "visits": p for i, p in enumerate(self.visits)}
        return {key: path for key, path in {**single, **several}.items() if path is not None}


@dataclass(frozen=True)
class Conventions:
    """How numbers are computed where statistical programs differ; printed under every table.

    Parameters
    ----------
    name : {"r", "sas"}
        The preset.
    ties : {"efron", "breslow"}
        Tied event times in Cox models.
    km_interval : {"log", "log-log", "plain"}
        Scale of Kaplan-Meier intervals.
    ls_mean_weights : {"equal", "proportional"}
        Levels of factors in least-squares means (SAS: default, or option OM).
    nb_covariance : {"expected", "observed"}
        Information behind negative binomial standard errors: R's `glm.nb`, or SAS GENMOD.
    median_of_flat_step : {"midpoint", "between_events", "first"}
        The median where survival is exactly one half for a while: the middle of the step, of the last one up to the
        end of follow-up (R's `quantile.survfit`); the same, but not estimable where no event ends the step (PROC
        LIFETEST); or its first time. Also the other quartiles.
    """

    name: Preset
    ties: Ties
    km_interval: Interval
    ls_mean_weights: Weights
    nb_covariance: Covariance
    median_of_flat_step: FlatStep = "midpoint"

    def __post_init__(self) -> None:
        """Refuse a word that no convention has."""
        for key, allowed in CHOICES.items():
            chosen(getattr(self, key), allowed, key)

    def words(self) -> str:
        """Return every choice in one sentence, as it stands under the tables."""
        return (
            f"Convention “{self.name}”: {self.ties.capitalize()} ties, {self.km_interval} Kaplan-Meier intervals, "
            f"median of a flat step at {FLAT_STEPS[self.median_of_flat_step]}, "
            f"{self.ls_mean_weights} weights of least-squares means, {self.nb_covariance} information of negative "
            "binomial models"
        )


CHOICES: dict[str, tuple[str, ...]] = {
    "ties": get_args(Ties),
    "km_interval": get_args(Interval),
    "ls_mean_weights": get_args(Weights),
    "nb_covariance": get_args(Covariance),
    "median_of_flat_step": get_args(FlatStep),
}
FLAT_STEPS: dict[FlatStep, str] = {
    "midpoint": "its middle, of the last one up to the end of follow-up",
    "between_events": "its middle, not estimable where no event ends it",
    "first": "its first time",
}
CONVENTIONS: dict[str, Conventions] = {
    "r": Conventions("r", "efron", "log", "equal", "expected"),
    "sas": Conventions("sas", "breslow", "log-log", "equal", "observed", "between_events"),
}


@dataclass(frozen=True)
class Analysis:
    """What the statistical analysis plan decides.

    Parameters
    ----------
    strata : tuple of str
        Of stratified tests and models: "region", "sex", "age_group", "edss_stratum", "prl_stratum", or a column of the
        patient table.
    subgroups : tuple of str
        As `strata`; each is one part of the forest plot.
    prl_strata : tuple of int
        Where the strata of rim lesion counts ("prl_stratum") begin: (1, 4) for 0, 1 to 3, 4 and more.
    prl_rater : str
        Whose counts at baseline make the strata where the patient table has none; blank: the first rater that has.
    disability_threshold : float
        Where the second stratum of the patients' `disability_risk` ("disability_stratum") begins.
    sequence : tuple of str
        Endpoints in the order of a fixed-sequence test; empty: no adjustment.
        An entry "cdp24: high" is of one arm; "cdp24" of all, in the order of [arms] compared.
    sequence_arms : {"fixed", "holm"}
        Arms of one endpoint in that order, or by Holm's procedure, all of them before the next endpoint.
    holm : bool
        Whether Holm's adjusted p values stand beside.
    alpha : float
        Two-sided, in (0, 1): the level of every test in a sequence, and of every interval, which covers 1 - alpha.
    bootstrap_draws, seed : int
        Of the comparison of treatment effects between raters; 0 draws: left out.
    """

    strata: tuple[str, ...] = ("region",)
    subgroups: tuple[str, ...] = ("sex", "region", "age_group", "edss_stratum")
    prl_strata: tuple[int, ...] = PRL_STRATA
    prl_rater: str = ""
    disability_threshold: float = THRESHOLD
    sequence: tuple[str, ...] = ()
    sequence_arms: Within = "fixed"
    holm: bool = False
    alpha: float = 0.05
    bootstrap_draws: int = 2000
    seed: int = 20230313

    @property
    def confidence(self) -> float:
        """Level of every two-sided interval."""
        return 1 - self.alpha

    @property
    def level(self) -> str:
        """The level as text: "95 %"."""
        return f"{100 * self.confidence:.6g} %"


@dataclass(frozen=True)
class TrialSettings:
    """Everything `trial.toml` says. Weeks count from randomisation."""

    path: Path
    name: str
    simulated: bool
    preset: str | None
    tables: TablePaths
    reference_arm: str
    compared_arms: tuple[str, ...]
    lesion_type: str
    zero_volume: str | None
    baseline_week: float
    weeks: tuple[float, ...]
    outcomes: tuple[str, ...]
    rule: ProgressionRule | None
    conventions: Conventions
    analysis: Analysis = field(default_factory=Analysis)
    raters: tuple[str, ...] = ()  # those analysed; empty: all in the data
    windows: tuple[Window, ...] = ()  # empty: weeks must be exact
    populations: Populations = field(default_factory=Populations)
    adam: AdamSettings | None = None  # None: tables of our own
    outcome_source: str = "derive"
    report: ReportSettings = field(default_factory=ReportSettings)
    exposure: Exposure = "years"

    def __post_init__(self) -> None:
        """Refuse a word that no setting has."""
        if self.zero_volume is not None:
            chosen(self.zero_volume, ZERO_VOLUME, "zero_volume")
        if self.preset is not None:
            chosen(self.preset, PUBLISHED, "preset")
        chosen(self.outcome_source, SOURCES, "outcome_source")
        chosen(self.exposure, EXPOSURES, "exposure")

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms, the reference first."""
        return (self.reference_arm, *self.compared_arms)

    def step_of(self, entry: str) -> tuple[str, tuple[str, ...]]:
        """Return the endpoint and the arms of an entry of the sequence."""
        name, _, arm = entry.partition(": ")
        return name, (arm,) if arm else self.compared_arms


def read_settings(path: Path, conventions: Preset | None = None) -> TrialSettings:
    """Read and check a settings file; no table is opened.

    Parameters
    ----------
    path : Path
        `trial.toml`.
    conventions : {"r", "sas"}, optional
        Instead of [conventions] preset; single choices of the file still hold.

    Raises
    ------
    SettingsError
        Naming the file, the key, what was expected, what was found and the next step.

    Examples
    --------
    >>> settings = read_settings(Path("trial/trial.toml"))
    >>> settings.simulated, settings.arms, settings.conventions.name
    (True, ('placebo', 'active'), 'r')
    """
    if conventions is not None:
        chosen(conventions, CONVENTIONS, "conventions")
    sections = read_sections(path, SECTIONS)
    trial, arms, lesions = sections["trial"], sections["arms"], sections["lesions"]
    visits, disability = sections["visits"], sections["disability"]
    adam = adam_settings(sections["adam"], path.parent)
    tables = _table_paths(sections["tables"], path.parent, adam)
    source = disability.choice("source", SOURCES) or "derive"
    settings = TrialSettings(
        path=path,
        name=trial.text("name"),
        simulated=trial.flag("simulated"),
        preset=trial.choice("preset", tuple(PUBLISHED)),
        tables=tables,
        reference_arm=arms.text("reference"),
        compared_arms=arms.texts("compared"),
        lesion_type=lesions.text("type") if tables.visits else lesions.optional_text("type") or "",
        zero_volume=lesions.choice("zero_volume", ZERO_VOLUME),
        baseline_week=visits.numbers("baseline_week", single=True)[0],
        weeks=visits.numbers("weeks"),
        outcomes=disability.texts("outcomes", ("cdp24",)),
        rule=_rule(disability, required=tables.assessments is not None and source == "derive"),
        conventions=_conventions(sections["conventions"], conventions),
        analysis=_analysis(sections["analysis"]),
        raters=lesions.texts("raters", ()),
        windows=window_settings(visits),
        populations=population_settings(sections["populations"]),
        adam=adam,
        outcome_source=source,
        report=report_settings(sections["report"]),
        exposure=cast("Exposure", lesions.choice("exposure", EXPOSURES) or "years"),
    )
    for section in sections.values():
        section.refuse_unknown()
    _check_sense(settings)
    return settings


SECTIONS = (
    "trial", "tables", "adam", "arms", "populations", "lesions", "visits", "disability", "conventions", "analysis",
    "report",
)  # fmt: skip


def _table_paths(section: Section, folder: Path, adam: AdamSettings | None) -> TablePaths:
    dates: Any = section.choice("dates", get_args(DayOrder)) or "iso"
    optional = {
        key: None if (text := section.optional_text(key)) is None else folder / text
        for key in ("assessments", "relapses", "agreement", "size_bin_figure", "truth")
    }
    visits = tuple(folder / text for text in section.texts("visits", ()))
    patients = section.optional_text("patients")
    if adam is None:
        return TablePaths(patients=folder / section.text("patients"), visits=visits, dates=dates, **optional)
    if patients or optional["assessments"]:
        raise SettingsError(
            f"{section.path}: [tables] names patients or assessments, and [adam] a folder that holds them. Keep one."
        )
    adsl, adqs, adtte = find_adam(adam.folder, adam.files)
    return TablePaths(patients=adsl, visits=visits, times=adtte, dates=dates, **{**optional, "assessments": adqs})


def _rule(section: Section, required: bool) -> ProgressionRule | None:
    name = section.choice("preset", tuple(PRESETS), required)
    if name is None:
        return None
    rule = PRESETS[name]
    onset = section.numbers("relapse_onset_weeks", single=True, default=rule.relapse_onset_weeks)[0]
    confirmation = section.numbers("relapse_confirmation_weeks", single=True, default=rule.relapse_confirmation_weeks)[
        0
    ]
    return replace(rule, relapse_onset_weeks=onset, relapse_confirmation_weeks=confirmation)


def _conventions(section: Section, instead: str | None) -> Conventions:
    named = section.choice("preset", tuple(CONVENTIONS), required=instead is None)
    single: dict[str, Any] = {key: section.choice(key, allowed) for key, allowed in CHOICES.items()}
    return replace(CONVENTIONS[instead or str(named)], **{key: word for key, word in single.items() if word})


def _analysis(section: Section) -> Analysis:
    usual = Analysis()
    holm = section.get("holm", "true or false", required=False)
    section.check("holm", holm, "true or false", holm is None or isinstance(holm, bool))
    alpha = section.numbers("alpha", single=True, default=usual.alpha)[0]
    section.check("alpha", alpha, "a number between 0 and 1", 0 < alpha < 1)
    between = section.numbers("disability_threshold", single=True, default=usual.disability_threshold)[0]
    section.check("disability_threshold", between, "a probability between 0 and 1, such as 0.5", 0 < between < 1)
    whole = {}
    for key, default in (("bootstrap_draws", usual.bootstrap_draws), ("seed", usual.seed)):
        value = section.numbers(key, single=True, default=default)[0]
        section.check(key, value, "a whole number >= 0", value >= 0 and value == int(value))
        whole[key] = int(value)
    return Analysis(
        strata=section.texts("strata", usual.strata, none=True),
        subgroups=section.texts("subgroups", usual.subgroups, none=True),
        prl_strata=_prl_strata(section, usual.prl_strata),
        prl_rater=section.optional_text("prl_rater") or "",
        disability_threshold=between,
        sequence=section.texts("sequence", usual.sequence, none=True),
        sequence_arms=cast("Within", section.choice("sequence_arms", get_args(Within)) or usual.sequence_arms),
        holm=bool(holm),
        alpha=alpha,
        **whole,
    )


def _prl_strata(section: Section, usual: tuple[int, ...]) -> tuple[int, ...]:
    if section.get("prl_strata", "a list such as [1, 4]", required=False) is None:
        return usual
    found = section.numbers("prl_strata")
    rising = all(a < b for a, b in pairwise((0.0, *found)))
    expected = "rising whole numbers >= 1, such as [1, 4] for 0, 1-3 and >= 4 rim lesions"
    section.check("prl_strata", list(found), expected, rising and all(value == int(value) for value in found))
    return tuple(int(value) for value in found)


def _check_arms(settings: TrialSettings) -> None:
    path = settings.path
    if len(set(settings.arms)) != len(settings.arms):
        raise SettingsError(f"{path}: [arms] names an arm twice: {list(settings.arms)}. Name each once.")
    for arm in settings.arms:
        if arm in RESERVED_ARMS or arm.endswith(":log_tlv"):
            raise SettingsError(
                f"{path}: [arms] names {arm!r}, which is what a term of the models is called; expected another name. "
                f"Rename the arm in {settings.tables.patients.name} and here."
            )


def _check_sense(settings: TrialSettings) -> None:
    path, weeks = settings.path, settings.weeks
    _check_arms(settings)
    if list(weeks) != sorted(set(weeks)) or weeks[0] <= settings.baseline_week:
        raise SettingsError(
            f"{path}: [visits] weeks: expected rising weeks after baseline_week {settings.baseline_week:g}, "
            f"found {[f'{w:g}' for w in weeks]}. Correct the settings."
        )
    if not settings.tables.visits and settings.tables.assessments is None and settings.outcome_source == "derive":
        raise SettingsError(
            f"{path}: [tables] names no visits and no assessments; expected lesions, clinical endpoints, or both. Name "
            'visits or assessments, or in [adam] a folder with ADQS, or with ADTTE and [disability] source = "adtte".'
        )
    _check_outcomes(settings)
    known = (*IMAGING_ENDPOINTS, *settings.outcomes)
    for entry in settings.analysis.sequence:
        name, arms = settings.step_of(entry)
        if name not in known:
            raise SettingsError(
                f"{path}: [analysis] sequence: expected some of {list(known)}, found {name!r}."
                f"{did_you_mean(name, known)}"
            )
        if not set(arms) <= set(settings.compared_arms):
            raise SettingsError(
                f"{path}: [analysis] sequence: {entry!r} names the arm {arms[0]!r}; expected one of [arms] compared "
                f"{list(settings.compared_arms)}.{did_you_mean(arms[0], list(settings.compared_arms))}"
            )
    for window in settings.windows:
        if window.target not in (settings.baseline_week, *weeks):
            raise SettingsError(
                f"{path}: [visits.windows] {window.target:g}: expected a week of [visits] "
                f"{[f'{w:g}' for w in (settings.baseline_week, *weeks)]}. Correct one of them."
            )
    if settings.outcome_source == "adtte" and settings.tables.times is None:
        raise SettingsError(
            f"{path}: [disability] source is adtte, but there is no ADTTE; found "
            f"{'an [adam] folder without it' if settings.adam else 'no [adam] section'}. Add the file, or derive."
        )
    if settings.tables.truth and not settings.simulated:
        raise SettingsError(
            f"{path}: [tables] truth names the truth of a simulation, but [trial] simulated is false. Correct one."
        )
    _check_relapse_windows(settings)


def _check_outcomes(settings: TrialSettings) -> None:
    """Refuse an outcome that is neither derived here nor taken from ADTTE under a name of [adam.paramcd]."""
    known = list(OUTCOMES)
    if settings.adam and settings.outcome_source == "adtte":
        known += [name for name in settings.adam.codes if name not in OUTCOMES]
    for name in settings.outcomes:
        if name not in known:
            raise SettingsError(
                f"{settings.path}: [disability] outcomes: expected some of {known}, found {name!r}."
                f"{did_you_mean(name, known)}"
            )
    taken = [name for name in settings.outcomes if name in RESERVED]
    if taken:
        raise SettingsError(
            f"{settings.path}: [disability] outcomes: {taken[0]!r} is another endpoint's name. Choose another name "
            "in [adam.paramcd]."
        )


def _check_relapse_windows(settings: TrialSettings) -> None:
    rule = settings.rule
    if rule is None or settings.tables.assessments is None:
        return
    windows = (rule.relapse_onset_weeks, rule.relapse_confirmation_weeks)
    if min(windows) < 0:
        raise SettingsError(f"{settings.path}: [disability] relapse windows: expected weeks >= 0, found {windows}.")
    if max(windows) > 0 and settings.tables.relapses is None:
        raise SettingsError(
            f"{settings.path}: [disability] has a relapse window but [tables] names no relapses. Name the table."
        )
