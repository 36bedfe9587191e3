"""Pack the model that comes with the package, if it passes its gate; print the tables of its card.

    python benchmarks/shipped_model_pack.py MODEL segment.csv scores.csv rivals.csv -o packed

Gate, of what `nnunet-ms-segment` itself makes with one network (`shipped_model_segment.py`): trained without open_ms,
mean Dice on open_ms at least 0.50; trained without MS3SEG, on MS3SEG at least 0.55; the three folds at least 0.70; on
104252 and 105755 better than the masks of the programs that come with MS3SEG. Where it is not met nothing is packed
(`--anyway` packs a model for trying).
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

import nnunet_ms as ms

NAME = "ms-any-small"
TITLE = "MS lesions on any of FLAIR, T2 and T1, small network"
FOLDS, WITHOUT_OPEN, WITHOUT_MS3SEG = ("0", "1", "2"), "3", "4"
GATE = {"open_ms": 0.50, "MS3SEG": 0.55, "folds": 0.70}
FULL = "FT1"
WORDS = {"F": "FLAIR", "T": "T2", "1": "T1"}


def read_scores(path: Path) -> pd.DataFrame:
    """Scores with the set of each patient and the way the patient was held out."""
    scores = pd.read_csv(path, dtype={"fold": str, "case": str})
    scores["set"] = ["open_ms" if case.startswith("O") else "MS3SEG" for case in scores["case"]]
    ways = {WITHOUT_OPEN: "other set", WITHOUT_MS3SEG: "other set", **dict.fromkeys(FOLDS, "folds")}
    scores["way"] = scores["fold"].map(ways)
    return scores.dropna(subset=["way"])


def fullest(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows with all sequences that a patient has."""
    lengths = scores["sequences"].str.len()
    return scores[lengths == lengths.groupby([scores["case"], scores["way"]]).transform("max")]


def gate(scores: pd.DataFrame, rivals: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """What was found, and what is asked for."""
    full = fullest(scores)
    apart, within = full[full["way"] == "other set"], full[full["way"] == "folds"]
    found = {
        name: (float(apart.loc[apart["set"] == name, "dice"].mean()), GATE[name]) for name in ("open_ms", "MS3SEG")
    }
    found["folds"] = (float(within["dice"].mean()), GATE["folds"])
    seen = within if len(within) else apart  # before the folds are trained: the network that knows nobody of the set
    for patient, rows in rivals.groupby("case"):
        mine = seen.loc[seen["case"].str.startswith(str(patient)), "dice"]
        found[f"{patient} against {rows.loc[rows['dice'].idxmax(), 'program']}"] = (mine.mean(), rows["dice"].max())
    return found


def by_subset(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over patients by set, way and subset, and what is lost against all sequences."""
    full = fullest(scores).set_index(["case", "way"])["dice"]
    scores = scores.assign(lost=[full[row.case, row.way] - row.dice for row in scores.itertuples()])
    columns = ["dice", "lost", "ltpr", "ltpr_small", "ltpr_medium", "ltpr_large", "lfpr"]
    table = scores.groupby(["set", "way", "sequences"])[columns].mean()
    table.insert(0, "n", scores.groupby(["set", "way", "sequences"]).size())
    return table.reset_index()


def words(sequences: str) -> str:
    """Name a subset."""
    return ", ".join(WORDS[one] for one in sequences)


def markdown(table: pd.DataFrame) -> str:
    """Rows of a card's table."""
    head = "| set | held out | sequences | n | Dice | lost | LTPR | < 30 mm3 | 30-150 | larger | LFPR |"
    lines = [head, "|" + "---|" * head.count(" | ") + "---|"]
    for row in table.itertuples():
        values = (row.dice, row.lost, row.ltpr, row.ltpr_small, row.ltpr_medium, row.ltpr_large, row.lfpr)
        numbers = " | ".join("" if pd.isna(one) else f"{one:.2f}".replace("0.", ".", 1) for one in values)
        lines.append(f"| {row.set} | {row.way} | {words(row.sequences)} | {row.n} | {numbers} |")
    return "\n".join(lines)


def by_patient(segmented: pd.DataFrame) -> str:
    """Rows of the card's first table: what the command makes of each patient."""
    head = "| patient | held out | sequences | Dice | LTPR | LFPR | reference ml | predicted ml |"
    lines = [head, "|" + "---|" * head.count(" | ") + "---|"]
    for row in segmented.itertuples():
        numbers = " | ".join(f"{one:.2f}".replace("0.", ".", 1) for one in (row.dice, row.ltpr, row.lfpr))
        volumes = f"{row.reference_ml:.1f} | {row.predicted_ml:.1f}"
        lines.append(f"| {row.case} | {row.way} | {words(row.sequences)} | {numbers} | {volumes} |")
    return "\n".join(lines)


def card(model: Path, segmented: pd.DataFrame, scores: pd.DataFrame, passed: dict[str, tuple[float, float]]) -> str:
    """Fill in the draft of the card."""
    text = ms.draft_model_card(model, name=NAME, title=TITLE, licence="CC-BY-4.0", folds=FOLDS)
    head = text.split("## Data")[0].replace("| float32 |", "| float16 |")  # it is packed in half precision
    told = "\n".join(f"- {name}: {found:.3f} (asked for: {asked:.2f})" for name, (found, asked) in passed.items())
    prose = Path(__file__).with_name("shipped_model_card.md").read_text(encoding="utf-8")
    tables = {"{patients}": by_patient(segmented), "{table}": markdown(by_subset(scores)), "{gate}": told}
    for place, table in tables.items():
        prose = prose.replace(place, table)
    return head + prose


def main() -> int:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("segmented", type=Path, help="of shipped_model_segment.py")
    parser.add_argument("scores", type=Path, help="of shipped_model_score.py: every subset")
    parser.add_argument("rivals", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("packed"))
    parser.add_argument("--anyway", action="store_true")
    args = parser.parse_args()
    segmented, scores = read_scores(args.segmented), read_scores(args.scores)
    passed = gate(segmented, pd.read_csv(args.rivals, dtype={"case": str}))
    for name, (found, asked) in passed.items():
        print(f"{name}: {found:.3f}, asked for {asked:.3f}: {'met' if found >= asked else 'NOT MET'}")
    print(markdown(by_subset(scores)))
    if not (args.anyway or all(found >= asked for found, asked in passed.values())):
        return 1
    args.output.mkdir(parents=True, exist_ok=True)
    text = args.output / "CARD.md"
    text.write_text(card(args.model, segmented, scores, passed), encoding="utf-8")
    packed = ms.pack_model(
        args.model, args.output, name=NAME, title=TITLE, licence="CC-BY-4.0", card=text, folds=FOLDS, half=True
    )
    print(packed.path, packed.path.stat().st_size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
