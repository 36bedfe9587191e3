"""What one fold says of patients that it has not seen, through `nnunet-ms-segment` itself, in the FLAIR's own grid.

    python benchmarks/shipped_model_segment.py MODEL raw/Dataset920_Orig ../shared/data segmented.csv \
        --fold 3 --cases O07 O26

Appends to the table; what is in it already is not done again. One network, mirrored, all sequences that a patient has;
brain masks of MS3SEG are given. A patient whose scans the command refuses stands
in the table with the reason.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import SimpleITK
from shipped_model_data import manifest
from shipped_model_folder import copy_model
from shipped_model_score import SEQUENCES, compared, folder_of

import nnunet_ms as ms
from nnunet_ms.errors import NnunetMsError
from nnunet_ms.outputs import whole_file


def segmented(model: Path, row: pd.Series, data: Path, out: Path) -> dict[str, object]:
    """Segment one patient and compare the FLAIR's mask with the reference."""
    patient = str(row["patient_id"])
    given = {name: data / row[name] for name in ("flair", "t2", "t1", "brain_mask") if row[name]}
    how = {"samples": 0, "pictures": False, "device": "cpu"}
    done = ms.segment(**given, patient=patient, out=out, model=model, **how)
    reference = SimpleITK.ReadImage(str(folder_of(data, patient) / "lesion.nii.gz"))
    (mask,) = (out / "masks" / "flair").glob("*.nii.gz")
    shown = SimpleITK.Cast(SimpleITK.ReadImage(str(mask)) > 0, SimpleITK.sitkUInt8)
    shown.CopyInformation(reference)  # equal but for rounding
    return {
        "sequences": "".join(letter for letter, (name, _) in SEQUENCES.items() if name in given),
        **compared(reference, shown),
        "notes": " | ".join(done.notes).replace(f"{folder_of(data, patient)}/", ""),
    }


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("acquired", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--fold", required=True)
    parser.add_argument("--cases", nargs="+", required=True)
    args = parser.parse_args()
    done = pd.read_csv(args.table, dtype={"fold": str, "case": str}) if args.table.is_file() else pd.DataFrame()
    keys = {tuple(row) for row in done[["fold", "case"]].to_numpy()} if len(done) else set()
    data = args.data.resolve()
    with TemporaryDirectory() as scratch:
        model = copy_model(args.model, args.acquired, Path(scratch) / "model", (args.fold,))
        for _, row in manifest(data).iterrows():
            if row["patient_id"] not in args.cases or (args.fold, row["patient_id"]) in keys:
                continue
            found: dict[str, object] = {"fold": args.fold, "case": row["patient_id"]}
            try:
                found |= segmented(model, row, data, Path(scratch) / str(row["patient_id"]))
            except NnunetMsError as error:
                found["notes"] = str(error)
            done = pd.concat([done, pd.DataFrame([found])], ignore_index=True)
            with whole_file(args.table) as partial:
                done.to_csv(partial, index=False, float_format="%.4f")
            print(
                args.fold, row["patient_id"], found.get("dice"), found.get("predicted_ml"), found["notes"], flush=True
            )


if __name__ == "__main__":
    main()
