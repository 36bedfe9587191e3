"""`trial.toml`: what a trial's tables are, what its arms and visits mean, and which conventions its numbers follow."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from nnunet_ms.analysis.disability import OUTCOMES, PRESETS, ProgressionRule
from nnunet_ms.analysis.published import PUBLISHED
from nnunet_ms.errors import SettingsError

ZERO_VOLUME = ("exclude", "half_smallest_positive")


@dataclass(frozen=True)
class TablePaths:
    """The input files; None where the trial has none."""

    patients: Path
    visits: tuple[Path, ...]
    assessments: Path | None = None
    relapses: Path | None = None
    agreement: Path | None = None
    size_bin_figure: Path | None = None
    truth: Path | None = None

    def named(self) -> dict[str, Path]:
        """Return the files that the settings name, by key."""
        single = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "visits"}
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
    """

    name: str
    ties: str
    km_interval: str
    ls_mean_weights: str
    nb_covariance: str


CONVENTIONS = {
    "r": Conventions("r", "efron", "log", "equal", "expected"),
    "sas": Conventions("sas", "breslow", "log-log", "equal", "observed"),
}


@dataclass(frozen=True)
class Analysis:
    """What the statistical analysis plan decides.

    Parameters
    ----------
    strata : tuple of str
        Of stratified tests and models: "region", "sex", "age_group", "edss_stratum", or a column of the patient table.
    subgroups : tuple of str
        As `strata`; each is one part of the forest plot.
    sequence : tuple of str
        Endpoints in the order of a fixed-sequence test; empty: no adjustment.
    holm : bool
        Whether Holm's adjusted p values stand beside.
    alpha : float
        Two-sided, in (0, 1).
    bootstrap_draws, seed : int
        Of the comparison of treatment effects between raters; 0 draws: left out.
    """

    strata: tuple[str, ...] = ("region",)
    subgroups: tuple[str, ...] = ("sex", "region", "age_group", "edss_stratum")
    sequence: tuple[str, ...] = ()
    holm: bool = False
    alpha: float = 0.05
    bootstrap_draws: int = 2000
    seed: int = 20230313


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

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms, the reference first."""
        return (self.reference_arm, *self.compared_arms)


def read_settings(path: Path) -> TrialSettings:
    """Read and check a settings file; no table is opened.

    Raises
    ------
    SettingsError
        Naming the file, the key, what was expected, what was found and the next step.
    """
    sections = _sections(path)
    trial, arms, lesions = sections["trial"], sections["arms"], sections["lesions"]
    visits, disability = sections["visits"], sections["disability"]
    tables = _table_paths(sections["tables"], path.parent)
    settings = TrialSettings(
        path=path,
        name=trial.text("name"),
        simulated=trial.flag("simulated"),
        preset=trial.choice("preset", tuple(PUBLISHED)),
        tables=tables,
        reference_arm=arms.text("reference"),
        compared_arms=arms.texts("compared"),
        lesion_type=lesions.text("type"),
        zero_volume=lesions.choice("zero_volume", ZERO_VOLUME),
        baseline_week=visits.numbers("baseline_week", single=True)[0],
        weeks=visits.numbers("weeks"),
        outcomes=disability.texts("outcomes", ("cdp24",)),
        rule=_rule(disability, required=tables.assessments is not None),
        conventions=_conventions(sections["conventions"]),
        analysis=_analysis(sections["analysis"]),
    )
    for section in sections.values():
        section.refuse_unknown()
    _check_sense(settings)
    return settings


class _Section:
    """One table of the file; remembers which keys were asked for, so that the others can be refused."""

    def __init__(self, path: Path, name: str, values: object) -> None:
        self.path, self.name = path, name
        if not isinstance(values, dict):
            raise SettingsError(
                f"{path}: expected a section [{name}], found {values!r}. Write [{name}] on its own line."
            )
        self.values: Mapping[str, object] = values
        self.known: list[str] = []

    def get(self, key: str, expected: str, required: bool = True) -> object:
        self.known.append(key)
        if required and key not in self.values:
            raise SettingsError(
                f"{self.path}: [{self.name}] needs {key} ({expected}), found {list(self.values)}. Add it."
            )
        return self.values.get(key)

    def text(self, key: str) -> str:
        value = self.get(key, "text")
        return str(self.check(key, value, "text in quotes", isinstance(value, str) and value != ""))

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self.get(key, "text", required=False) is not None else None

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        value = self.get(key, "a list of texts", required=default is None)
        if value is None:
            return default or ()
        values = [value] if isinstance(value, str) else value
        good = isinstance(values, list) and bool(values) and all(isinstance(v, str) and v for v in values)
        self.check(key, value, 'a list such as ["a", "b"]', good)
        return tuple(values) if isinstance(values, list) else ()

    def numbers(self, key: str, single: bool = False, default: float | None = None) -> tuple[float, ...]:
        value = self.get(key, "weeks", required=default is None)
        if value is None and default is not None:
            return (default,)
        values: list[object] = [value] if single else value if isinstance(value, list) else []
        good = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        expected = "a number" if single else "a list such as [24, 48, 96]"
        self.check(key, value, expected, 0 < len(good) == len(values))
        return tuple(good)

    def flag(self, key: str) -> bool:
        value = self.get(key, "true or false")
        return bool(self.check(key, value, "true or false", isinstance(value, bool)))

    def choice(self, key: str, among: Sequence[str], required: bool = False) -> str | None:
        value = self.get(key, f"one of {list(among)}", required)
        if value is None:
            return None
        return str(self.check(key, value, f"one of {list(among)}", value in among))

    def check(self, key: str, value: object, expected: str, good: bool) -> object:
        if not good:
            raise SettingsError(
                f"{self.path}: [{self.name}] {key}: expected {expected}, found {value!r}. Correct the settings."
            )
        return value

    def refuse_unknown(self) -> None:
        for key in self.values:
            if key not in self.known:
                raise SettingsError(
                    f"{self.path}: [{self.name}] has an unknown key {key!r}; known are {self.known}."
                    f"{_did_you_mean(key, self.known)}"
                )


SECTIONS = ("trial", "tables", "arms", "lesions", "visits", "disability", "conventions", "analysis")


def _sections(path: Path) -> dict[str, _Section]:
    if not path.is_file():
        raise SettingsError(f"{path}: no such settings file. Write one with: nnunet-ms-endpoints init {path.name}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected a TOML file in UTF-8, cannot read it ({error}). Correct it.") from error
    for name in content:
        if name not in SECTIONS:
            raise SettingsError(
                f"{path}: unknown section [{name}]; known are {list(SECTIONS)}.{_did_you_mean(name, SECTIONS)}"
            )
    return {name: _Section(path, name, content.get(name, {})) for name in SECTIONS}


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]}?" if close else " Remove it."


def _table_paths(section: _Section, folder: Path) -> TablePaths:
    optional = {
        key: None if (text := section.optional_text(key)) is None else folder / text
        for key in ("assessments", "relapses", "agreement", "size_bin_figure", "truth")
    }
    visits = tuple(folder / text for text in section.texts("visits"))
    return TablePaths(patients=folder / section.text("patients"), visits=visits, **optional)


def _rule(section: _Section, required: bool) -> ProgressionRule | None:
    name = section.choice("preset", tuple(PRESETS), required)
    if name is None:
        return None
    rule = PRESETS[name]
    onset = section.numbers("relapse_onset_weeks", single=True, default=rule.relapse_onset_weeks)[0]
    confirmation = section.numbers("relapse_confirmation_weeks", single=True, default=rule.relapse_confirmation_weeks)[
        0
    ]
    return replace(rule, relapse_onset_weeks=onset, relapse_confirmation_weeks=confirmation)


def _conventions(section: _Section) -> Conventions:
    conventions = CONVENTIONS[str(section.choice("preset", tuple(CONVENTIONS), required=True))]
    ties = section.choice("ties", ("efron", "breslow"))
    interval = section.choice("km_interval", ("log", "log-log", "plain"))
    weights = section.choice("ls_mean_weights", ("equal", "proportional"))
    covariance = section.choice("nb_covariance", ("expected", "observed"))
    return replace(
        conventions,
        ties=ties or conventions.ties,
        km_interval=interval or conventions.km_interval,
        ls_mean_weights=weights or conventions.ls_mean_weights,
        nb_covariance=covariance or conventions.nb_covariance,
    )


def _analysis(section: _Section) -> Analysis:
    usual = Analysis()
    holm = section.get("holm", "true or false", required=False)
    section.check("holm", holm, "true or false", holm is None or isinstance(holm, bool))
    alpha = section.numbers("alpha", single=True, default=usual.alpha)[0]
    section.check("alpha", alpha, "a number between 0 and 1", 0 < alpha < 1)
    whole = {}
    for key, default in (("bootstrap_draws", usual.bootstrap_draws), ("seed", usual.seed)):
        value = section.numbers(key, single=True, default=default)[0]
        section.check(key, value, "a whole number >= 0", value >= 0 and value == int(value))
        whole[key] = int(value)
    return Analysis(
        strata=section.texts("strata", usual.strata),
        subgroups=section.texts("subgroups", usual.subgroups),
        sequence=section.texts("sequence", usual.sequence),
        holm=bool(holm),
        alpha=alpha,
        **whole,
    )


def _check_sense(settings: TrialSettings) -> None:
    path, weeks = settings.path, settings.weeks
    if len(set(settings.arms)) != len(settings.arms):
        raise SettingsError(f"{path}: [arms] names an arm twice: {list(settings.arms)}. Name each once.")
    if list(weeks) != sorted(set(weeks)) or weeks[0] <= settings.baseline_week:
        raise SettingsError(
            f"{path}: [visits] weeks: expected rising weeks after baseline_week {settings.baseline_week:g}, "
            f"found {[f'{w:g}' for w in weeks]}. Correct the settings."
        )
    for name in settings.outcomes:
        if name not in OUTCOMES:
            raise SettingsError(
                f"{path}: [disability] outcomes: expected some of {list(OUTCOMES)}, found {name!r}."
                f"{_did_you_mean(name, list(OUTCOMES))}"
            )
    if settings.tables.truth and not settings.simulated:
        raise SettingsError(
            f"{path}: [tables] truth names the truth of a simulation, but [trial] simulated is false. Correct one."
        )
    _check_relapse_windows(settings)


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
