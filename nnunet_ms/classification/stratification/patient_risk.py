"""Predicted risks of disability in the patient table of a trial: `nnunet-ms-stratify risk`.

`nnunet-ms-endpoints` takes the column `disability_risk` as a stratum and as a covariate. It must be of a scan at
baseline: a risk that was predicted during the trial has the treatment's effect in it already.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms.errors import TableError
from nnunet_ms.options import known_keywords

if TYPE_CHECKING:
    import pandas as pd

PROGRAM = "nnunet-ms-stratify"


@known_keywords
def add_disability_risk(
    predictions: str | Path,
    patients: str | Path,
    output: str | Path,
    *,
    visit: str | None = None,
    replace: bool = False,
) -> "pd.DataFrame":
    r"""Write a patient table again with the risk that was predicted from the scan at baseline.

    Parameters
    ----------
    predictions : str or Path
        `predictions.csv` of `nnunet-ms-stratify predict`, or its folder.
    patients : str or Path
        `patients.csv` of a trial, or any CSV with `patient_id`; its cells are copied as they stand.
    output : str or Path
        CSV to write.
    visit : str, optional
        Name of the visit at baseline; needed where a patient has several scans.
    replace : bool, optional
        Whether an existing output is replaced.

    Returns
    -------
    pandas.DataFrame
        The table with `disability_risk`; blank for patients without a prediction.

    Raises
    ------
    TableError
        If a column is missing, the patients have risks already, nobody has a prediction of that visit, or a patient has
        several and no visit is named; or the output exists and is not to be replaced.

    Examples
    --------
    >>> header = "patient_id,visit,probability,threshold,disabled"
    >>> _ = Path("predictions.csv").write_text(f"{header}\nP1,base,0.7,0.5,1\n")
    >>> _ = Path("patients.csv").write_text("patient_id,arm\nP1,active\nP2,placebo\n")
    >>> table = add_disability_risk("predictions.csv", "patients.csv", "with_risk.csv", visit="base")
    >>> Path("with_risk.csv").read_text().splitlines()
    ['patient_id,arm,disability_risk', 'P1,active,0.7', 'P2,placebo,']
    """
    from nnunet_ms.classification.named_tables import named_table
    from nnunet_ms.classification.stratification.prediction_tables import PREDICTIONS
    from nnunet_ms.options import switch
    from nnunet_ms.outputs import whole_file
    from nnunet_ms.table_files import read_csv_file
    from nnunet_ms.tables import DISABILITY_RISK, read_table

    output = Path(output)
    if output.exists() and not switch(replace, "replace"):
        raise TableError(f"{output}: exists, and would be overwritten. Remove it, or use --overwrite.")
    _, path = named_table(predictions, ["predictions.csv"])
    risks = _risks(read_table(path, PREDICTIONS), path, visit)
    if not Path(patients).is_file():
        raise TableError(f"{patients}: no such file. Check the path and the spelling.")
    table = read_csv_file(Path(patients), clean=str).fillna("")
    if "patient_id" not in table or DISABILITY_RISK in table:
        found = "it" if DISABILITY_RISK in table else list(table.columns)
        raise TableError(
            f"{patients}: expected a column patient_id and none called {DISABILITY_RISK}, found {found}. Name the "
            "patient table of the trial as it was."
        )
    table[DISABILITY_RISK] = table["patient_id"].map(risks)
    if table[DISABILITY_RISK].isna().all():
        raise TableError(
            f"{patients}: expected patients of {predictions}, such as {risks.index[0]}, found none of them, but "
            f"{table['patient_id'].iloc[0] if len(table) else 'no row'}. Correct the names in one of the tables."
        )
    with whole_file(output) as partial:
        table.to_csv(partial, index=False)
    return table


def _risks(table: "pd.DataFrame", path: Path, visit: str | None) -> "pd.Series[float]":
    names = table["visit"].astype(str)
    if visit is not None:
        if not (names == visit).any():
            raise TableError(
                f"{path}: expected scans of visit {visit!r}, found {sorted(set(names))}. Name one of them."
            )
        table = table[names == visit]
    several = table[table.duplicated("patient_id")]
    if len(several):
        raise TableError(
            f"{path}: expected one scan of each patient, found several of patient {several['patient_id'].iloc[0]}. "
            f"Name the visit at baseline, one of {sorted(set(names))}: --visit."
        )
    return table.assign(patient_id=table["patient_id"].astype(str)).set_index("patient_id")["probability"]


def add_risk_parser(to: "argparse._SubParsersAction[Any]") -> None:
    """Add `risk` to the command's sub-commands."""
    parser = to.add_parser("risk", help="put predicted risks into the patient table of a trial, as disability_risk")
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="predictions.csv of predict")
    parser.add_argument("--patients", type=Path, required=True, metavar="CSV", help="patient table of the trial")
    parser.add_argument("--visit", help="the visit at baseline, where patients have several scans")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.set_defaults(action=run_risk)


def run_risk(args: argparse.Namespace) -> int:
    """Act on the arguments of `risk`; exit code 1 where patients have no prediction."""
    import sys

    from nnunet_ms import commands
    from nnunet_ms.tables import DISABILITY_RISK

    table = add_disability_risk(args.predictions, args.patients, args.output, visit=args.visit, replace=args.overwrite)
    patients = table.drop_duplicates("patient_id")
    without = patients.loc[patients[DISABILITY_RISK].isna(), "patient_id"].tolist()
    print(f"{args.output}: {len(patients) - len(without)} of {len(patients)} patients with {DISABILITY_RISK}.")
    if without:
        print(f"{PROGRAM}: no prediction of {len(without)} patients: {', '.join(without[:5])}.", file=sys.stderr)
        return commands.SOME_CASES_FAILED
    return commands.OK
