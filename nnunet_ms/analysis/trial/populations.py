"""Analysis populations: flags of the patient table that say whom an analysis is about, such as ITTFL or SAFFL."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from nnunet_ms.analysis.trial.settings_section import Section
from nnunet_ms.errors import TableError

COLUMNS = ["population", "patient_id", "arm", "column", "value", "reason"]


@dataclass(frozen=True)
class Population:
    """Patients whose `column` holds one of `values`."""

    name: str
    column: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Populations:
    """`main`: whom the report is about, None for every patient; `beside`: populations whose main results are repeated.

    `defined`: by name.
    """

    main: str | None = None
    beside: tuple[str, ...] = ()
    defined: Mapping[str, Population] = field(default_factory=dict)


def population_settings(section: Section) -> Populations:
    """Read [populations]: `main`, `beside`, and one [populations.<name>] with `column` and `values` each.

    Raises
    ------
    SettingsError
        If a population is named but not defined, or its definition lacks something.
    """
    names = section.inner_names()
    defined = {name: _population(section, name) for name in names}
    main = section.choice("main", names)
    beside = section.texts("beside", (), none=True)
    for name in beside:
        section.check("beside", list(beside), f"some of the defined populations {names}", name in names)
    section.check("beside", list(beside), "populations other than main", main not in beside)
    return Populations(main, beside, defined)


def _population(section: Section, name: str) -> Population:
    inner = Section(section.path, f"populations.{name}", section.inner(name))
    population = Population(name, inner.text("column"), inner.texts("values"))
    inner.refuse_unknown()
    return population


def split_population(
    patients: pd.DataFrame, population: Population | None, table: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the patients inside, and the listing of those outside with the value that puts them there.

    Parameters
    ----------
    patients : pandas.DataFrame
        `patient_id`, `arm`, and the population's column.
    population : Population or None
        None: everybody is inside.
    table : str
        The patient table's path, for messages.

    Raises
    ------
    TableError
        If the column is absent, or nobody is inside.
    """
    if population is None:
        return patients, pd.DataFrame(columns=COLUMNS)
    chosen = inside(patients, population, table)
    values = _values(patients, population)
    out = patients.loc[~chosen, ["patient_id", "arm"]].assign(
        population=population.name, column=population.column, value=values[~chosen]
    )
    wanted = " or ".join(population.values)
    out["reason"] = [f"{population.column} is {value or 'blank'}, not {wanted}" for value in out["value"]]
    return patients[chosen].reset_index(drop=True), out[COLUMNS].reset_index(drop=True)


def inside(patients: pd.DataFrame, population: Population | None, table: str) -> pd.Series:
    """Say which rows of a patient table are in a population; all of them where there is none.

    Raises
    ------
    TableError
        If the column is absent, or nobody is inside.
    """
    if population is None:
        return pd.Series(data=True, index=patients.index)
    if population.column not in patients:
        raise TableError(
            f"{table}: population {population.name} needs column {population.column}, found {list(patients.columns)}. "
            "Add it, or correct [populations]."
        )
    values = _values(patients, population)
    chosen = values.isin(population.values)
    if not chosen.any():
        raise TableError(
            f"{table}: column {population.column}: nobody is in population {population.name}; expected one of "
            f"{list(population.values)}, found {sorted(set(values))}. Correct [populations]."
        )
    return chosen


def _values(patients: pd.DataFrame, population: Population) -> pd.Series:
    return patients[population.column].map(lambda value: "" if pd.isna(value) else str(value).strip())
