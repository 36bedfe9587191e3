"""The words of a new `trial.toml`: every key with what the tables hold beside it."""

import json
from dataclasses import dataclass
from pathlib import Path

from nnunet_ms.analysis.trial.adam_guess import AdamGuess, Line
from nnunet_ms.analysis.trial.adam_settings import CODES, AdamSettings
from nnunet_ms.analysis.trial.published import PUBLISHED
from nnunet_ms.analysis.trial.risk_strata import STRATUM, THRESHOLD
from nnunet_ms.analysis.trial.settings import CONVENTIONS, EXPOSURES, ZERO_VOLUME, TablePaths
from nnunet_ms.analysis.trial.visit_windows import Window
from nnunet_ms.disability.confirmed_progression import PRESETS
from nnunet_ms.lesions.rims import PRL_STRATA, prl_strata

OPTIONAL_TABLES = ("assessments", "relapses", "agreement", "size_bin_figure", "truth")

PRL_LINE = (
    f"prl_strata = {list(PRL_STRATA)}  # where strata of rim lesions at baseline begin: {', '.join(prl_strata())}"
)
RISK_LINE = f"disability_threshold = {THRESHOLD:g}  # predicted risk from which disability_stratum is: >= {THRESHOLD:g}"


@dataclass(frozen=True)
class Proposal:
    """What the tables hold, and what is proposed.

    `reference`: the arm, and whether its name says so. `population`: the flag, and whether somebody is outside it.
    `zeros`: volumes of 0 ml. `windows`: of visits that were not in their planned weeks. `source`: of the outcomes;
    `outcomes`: proposed, and `further`: those that the tables have too. No lesion type: no lesion table.
    """

    arms: list[str]
    reference: tuple[str, bool]
    flags: list[str]
    population: tuple[str, bool] | None
    lesion_types: list[str]
    lesion_type: str
    weeks: list[float]
    windows: list[Window]
    zeros: int
    raters: list[str]
    outcomes: list[str]
    further: list[str]
    source: str
    strata: list[str]
    subgroups: list[str]
    adam: AdamGuess | None = None


def _rim_lines(data: Proposal) -> list[str]:
    """Strata of rim lesions, and with several raters whose counts make them where the patient table has none."""
    whose = (
        f"# prl_rater = {_quoted(data.raters[0])}  # whose counts where the patients have none" if data.raters else ""
    )
    return [PRL_LINE, *([f"{whose}; one of raters"] if len(data.raters) > 1 else [])]


def _quoted(value: object) -> str:
    # a TOML basic string escapes as JSON does, and TOML wants DEL escaped too
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _file(path: Path, folder: Path) -> str:
    """Return a path as the settings name it: relative to their folder where that needs no "..", else absolute."""
    full, base = path.resolve(), folder.resolve()
    return _quoted(full.relative_to(base).as_posix() if full.is_relative_to(base) else full.as_posix())


def settings_text(
    folder: Path, tables: TablePaths, adam: Path | None, simulated: bool, data: Proposal, conventions: str
) -> str:
    """Return the file's text; `folder` is where it will lie, `adam` the ADaM folder where there is one."""
    lines = [
        *_trial_lines(folder, simulated),
        *_table_lines(tables, adam, data, folder),
        *_arm_lines(data),
        *_population_lines(data),
        *_lesion_lines(data),
        *_visit_lines(data),
        *_choice_lines(data, conventions),
    ]
    return "\n".join(lines) + "\n"


def _trial_lines(folder: Path, simulated: bool) -> list[str]:
    return [
        "# Settings of one trial for nnunet-ms-endpoints. Written from the tables; check every line.",
        "",
        "[trial]",
        f"name = {_quoted(folder.resolve().name or 'trial')}",
        f"simulated = {str(simulated).lower()}  # true: the report says everywhere that no patient is real",
        f'# preset = "oratorio"  # shows published numbers beside yours; one of: {", ".join(PUBLISHED)}',
        "",
    ]


def _table_lines(tables: TablePaths, adam: Path | None, data: Proposal, folder: Path) -> list[str]:
    visits = [_file(path, folder) for path in tables.visits]
    optional = {key: getattr(tables, key) for key in OPTIONAL_TABLES}
    named = f"visits = {visits[0] if len(visits) == 1 else '[' + ', '.join(visits) + ']'}"
    return [
        "[tables]  # paths are relative to this file",
        *([] if adam else [f"patients = {_file(tables.patients, folder)}"]),
        named if visits else '# visits = "visits.csv"  # no lesion table: clinical endpoints alone',
        *(f"{key} = {_file(path, folder)}" if path else f"# {key} = ..." for key, path in optional.items()),
        f'{"# " * (tables.dates == "iso")}dates = "{"day-first" if tables.dates == "iso" else tables.dates}"'
        "  # or month-first: what comes first in dates that are not like 2021-12-31",
        "",
        *_adam_lines(adam, data, folder),
        "",
    ]


def _arm_lines(data: Proposal) -> list[str]:
    reference, known = data.reference
    doubt = "" if known else "; no arm is called placebo or control, check it"
    return [
        "[arms]",
        f"reference = {_quoted(reference)}  # differences are compared arm minus this arm{doubt}",
        f"compared = [{', '.join(_quoted(arm) for arm in data.arms if arm != reference)}]",
        "",
    ]


def _population_lines(data: Proposal) -> list[str]:
    flag, active = data.population or ("ITTFL", False)
    name = POPULATION_NAMES.get(flag.upper(), "main")
    mark = "" if active else "# "
    return [
        "[populations]  # whom the analyses are about; nothing here: every patient of the table",
        f'{mark}main = "{name}"  # the report',
        '# beside = ["per_protocol"]  # main results repeated, as a sensitivity analysis',
        f"{mark}[populations.{name}]",
        f"{mark}column = {_quoted(flag)}  # flags in the data: {', '.join(map(_quoted, data.flags)) or 'none'}",
        f'{mark}values = ["Y"]',
        "",
    ]


# flags of the patients that an efficacy analysis is about, the usual ones first, and what the population is called
POPULATION_NAMES = {
    "ITTFL": "itt", "ITT": "itt", "FASFL": "fas", "FAS": "fas", "MITTFL": "mitt", "MITT": "mitt",
    "RANDFL": "randomised", "EFFFL": "efficacy", "SAFFL": "safety", "PPROTFL": "per_protocol", "PPSFL": "per_protocol",
}  # fmt: skip


def _lesion_lines(data: Proposal) -> list[str]:
    if not data.lesion_type:
        return ["[lesions]  # nothing: there is no lesion table", ""]
    return [
        "[lesions]",
        f"type = {_quoted(data.lesion_type)}  # in the data: {', '.join(map(_quoted, data.lesion_types))}",
        f"# raters = [{', '.join(map(_quoted, data.raters))}]  # which to analyse; all of these if not said",
        f"# Before a logarithm, volumes of 0 ml ({data.zeros} in the data): add half the smallest positive volume of",
        "# the rater to all volumes, set only the zeros to it, or leave them out. One of:",
        f"# {', '.join(ZERO_VOLUME)}",
        f"zero_volume = {_quoted(ZERO_VOLUME[0])}",
        "# Lesions that are new or have grown are counted since the scan before; rates are per year of that time,",
        f"# or per scan. One of: {', '.join(EXPOSURES)}",
        f"exposure = {_quoted(EXPOSURES[0])}",
        "",
    ]


def _visit_lines(data: Proposal) -> list[str]:
    weeks, of = data.weeks, {window.target: window for window in data.windows}
    mark = "" if of else "# "
    found = "; scans were not in these weeks exactly" if of else ""
    windows = (f"{of[week].low:g}, {of[week].high:g}" if of else around(weeks, i) for i, week in enumerate(weeks))
    return [
        f"[visits]  # weeks after randomisation{'' if data.lesion_type else '; at these survival is reported'}",
        f"baseline_week = {weeks[0]:g}",
        f"weeks = [{', '.join(f'{week:g}' for week in weeks[1:])}]",
        f"{mark}[visits.windows]  # weeks that count as a week of the plan; of two scans in one window the closer is "
        f"taken{found}",
        *(f'{mark}"{week:g}" = [{limits}]' for week, limits in zip(weeks, windows, strict=True)),
        "",
    ]


def _choice_lines(data: Proposal, conventions: str) -> list[str]:
    derived = data.source == "derive"
    among = ", ".join(dict.fromkeys((*data.outcomes, *data.further)))
    return [
        "[disability]",
        f'{"" if derived else "# "}preset = "krishnan2023"  # what counts as progression; one of: {", ".join(PRESETS)}',
        f"outcomes = [{', '.join(map(_quoted, data.outcomes))}]  # some of: {among}",
        f'{"# " * derived}source = "{data.source}"  # "derive": from assessments; "adtte": times as ADTTE has them',
        "# relapse_onset_weeks = 0  # an assessment so soon after a relapse starts no progression",
        "# relapse_confirmation_weeks = 0  # ... confirms none",
        "",
        "[conventions]",
        f'preset = "{conventions}"  # one of: {", ".join(CONVENTIONS)}; single choices override it:',
        '# ties = "efron"  # or "breslow"',
        '# km_interval = "log"  # or "log-log", "plain"',
        '# ls_mean_weights = "equal"  # or "proportional"',
        '# nb_covariance = "expected"  # or "observed"',
        '# median_of_flat_step = "midpoint"  # or "first"',
        "",
        "[analysis]",
        f"strata = [{', '.join(map(_quoted, data.strata))}]  # of stratified tests; also sex, age_group, edss_stratum, "
        "or a column of the patients",
        f"subgroups = [{', '.join(map(_quoted, data.subgroups))}]",
        *(_rim_lines(data) if "prl_stratum" in data.subgroups else []),
        *([RISK_LINE] if STRATUM in data.subgroups else []),
        f"# sequence = [{', '.join(map(_quoted, _sequence(data)))}]  # fixed-sequence test of these endpoints, in this "
        "order",
        '# sequence_arms = "fixed"  # several arms of an endpoint in their order; "holm": by Holm, all before the next',
        "holm = false  # true: Holm's adjusted p values beside the others",
        "alpha = 0.05  # two-sided: of the tests in a sequence, and every interval covers 1 - alpha",
        "bootstrap_draws = 2000  # of the difference between raters' treatment effects; 0: left out",
        "seed = 20230313",
        "",
        "# [report]  # what stands on every page of the documents",
        '# title = ""  # instead of the trial\'s name',
        '# study = ""  # the study\'s number',
        "# data_cut = 2025-12-31",
        '# status = "draft"  # or "final"',
        "# km_bands = true  # pointwise intervals around Kaplan-Meier curves",
        "# blocks = []  # keys of the blocks that are shown, in this order; all without it",
    ]


def _sequence(data: Proposal) -> list[str]:
    return [*(["t2_volume_percent_change"] if data.lesion_type else []), *data.outcomes]


def _adam_lines(adam: Path | None, data: Proposal, folder: Path) -> list[str]:
    """Return the section of an ADaM folder, commented out where there is none."""
    usual = AdamSettings(folder)
    mark = "" if adam else "# "
    first = _file(adam, folder) if adam else '"adam"'
    lines = [
        f"{mark}[adam]  # instead of patients and assessments: ADSL, ADQS, ADTTE as .xpt, .sas7bdat or .csv",
        f"{mark}folder = {first}",
    ]
    guess = data.adam
    said = {line.key for line in guess.lines} if guess else set()
    lines += [_adam_line(line) for line in (guess.lines if guess else ())]
    shown = [f'{key} = "{getattr(usual, key)}"' for key in _USUAL if key not in said]
    lines += [
        "# the others as usual; another name goes here, or false where the trial has none:",
        f"# {', '.join(shown)}",
        "# origin_day = 1  # of AVAL in ADTTE: 1 if it is ADT - STARTDT + 1; without it, as the dates say",
    ]
    own = {name: code for name, code in guess.codes.items() if CODES.get(name) != code} if guess else {}
    if own:
        lines += ["[adam.paramcd]  # of ADTTE", *(f"{name} = {_quoted(code)}" for name, code in own.items())]
    else:
        lines.append('# PARAMCD of ADTTE, in [adam.paramcd]: cdp24 = "CDP24"')
    return lines


_USUAL = ("subject", "treatment", "age", "sex", "region", "edss_baseline", "randomisation", "last_treatment",
          "discontinued", "edss", "t25fw", "nhpt")  # fmt: skip


def _adam_line(line: Line) -> str:
    value = "false" if line.value is False else _quoted(line.value)
    return f"{'' if line.active else '# '}{line.key} = {value}{'  # ' * bool(line.why)}{_one_line(line.why)}"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def around(weeks: list[float], i: int) -> str:
    """Return an example of a window: half way to the weeks beside it."""
    low = weeks[i] - (weeks[i] - weeks[i - 1]) / 2 + 0.5 if i else weeks[i] - 4
    high = weeks[i] + (weeks[i + 1] - weeks[i]) / 2 if i + 1 < len(weeks) else weeks[i] + 12
    return f"{low:g}, {high:g}"
