"""A seeded catalogue of damaged tables of one tiny trial: what spreadsheets, exports, disks and typists do to them.

Damage that nobody could see, such as one digit for another or a row that is gone, is not in it.
"""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd

from tests.analysis.synthetic_trial import SETTINGS, agreement, all_lesion_types, patients, timed_assessments

N = 12
TABLES = ("patients", "visits", "assessments")
NUMBERS = {
    "patients": ("age_years", "edss_baseline", "discontinued_week"),
    "visits": ("week", "lesion_count", "new_lesion_count", "volume_ml"),
    "assessments": ("week", "edss", "t25fw_s", "nhpt_s"),
}
# no number that any of these columns can hold, in any spelling; words for a blank are in tests/test_spreadsheets.py
NO_NUMBERS = (
    "inf", "-inf", "1e400", "1e300", "-1", "abc", "1;5", "0x10", "\uff11\uff12", "true", "#VALUE!", "?", "=1+1",
    "2018-01-02", "x" * 1000, "5 ml", "<5",
)  # fmt: skip
KEYS = {
    "patients": ("patient_id", "arm"),
    "visits": ("patient_id", "rater", "lesion_type"),
    "assessments": ("patient_id",),
}
TINY = (
    SETTINGS.replace('["cdp24"]', '["ccdp24"]').replace('truth = "truth.json"\n', "").replace("draws = 20", "draws = 0")
)


def tables():
    """The trial as frames; ids are whole numbers without zeros in front, which every type of column can hold."""
    table = patients(N).assign(patient_id=[str(i + 1) for i in range(N)])
    return {"patients": table, "visits": all_lesion_types(table), "assessments": timed_assessments(table)}


def csv_bytes(frame):
    return frame.to_csv(index=False).encode()


def parquet_bytes(frame):
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def write(folder: Path, files) -> Path:
    """Write files by name, and settings that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    text = TINY
    for name, content in files.items():
        (folder / name).write_bytes(content)
        if name.endswith(".parquet"):
            text = text.replace(f"{Path(name).stem}.csv", name)
    (folder / "trial.toml").write_text(text)
    return folder / "trial.toml"


def whole():
    return {
        **{f"{name}.csv": csv_bytes(frame) for name, frame in tables().items()},
        "agreement.csv": csv_bytes(agreement()),
    }


def damaged_text(name, content, rng):
    """(what, bytes) of one CSV file damaged as text."""
    text = content.decode()
    lines = text.splitlines()
    head, rows = lines[0], lines[1:]
    columns = head.split(",")

    def file(*parts):
        return ("\n".join(parts) + "\n").encode()

    for sign in ";\t|:":
        yield f"delimiter {sign!r}", text.replace(",", sign).encode()
        row = int(rng.integers(len(rows)))
        yield f"delimiter {sign!r} in one row", file(head, *rows[:row], rows[row].replace(",", sign), *rows[row + 1 :])
    for _ in range(4):
        row, cut = int(rng.integers(1, len(rows))), int(rng.integers(1, len(columns)))
        yield "cut in a row", file(head, *rows[:row]) + ",".join(rows[row].split(",")[:cut]).encode()
        yield "one cell more in a row", file(head, *rows[:row], f"{rows[row]},1", *rows[row + 1 :])
        yield "two rows in one line", file(head, *rows[: row - 1], rows[row - 1] + rows[row], *rows[row + 1 :])
        yield "header again", file(head, *rows[:row], head, *rows[row:])
        yield "row again", file(head, *rows[:row], rows[row - 1], *rows[row:])
        place = int(rng.integers(len(head) + 1, len(content)))
        yield "NUL", content[:place] + b"\0" + content[place:]
        yield "carriage return", content[:place] + b"\rx" + content[place:]
        yield "no UTF-8", content[:place] + bytes([int(rng.integers(0x80, 0xC0))]) + content[place:]
        yield "quote at the start of a cell", file(head, *rows[:row], '"' + rows[row], *rows[row + 1 :])
        yield "comma for a digit", file(head, *rows[:row], re.sub(r"\d(?=\D*$)", ",", rows[row]), *rows[row + 1 :])
    again = int(rng.integers(len(columns)))
    yield "a cell more in every row", file(head, *(f"1,{row}" for row in rows))
    yield "a cell more at the end of every row", file(head, *(f"{row},1" for row in rows))
    yield "a cell less in every row", file(head, *(row.partition(",")[2] for row in rows))
    yield "column twice", file(f"{head},{columns[again]}", *(f"{row},1" for row in rows))
    yield "column twice but for blanks", file(f"{head}, {columns[again]} ", *(f"{row},1" for row in rows))
    yield "no header", file(*rows)
    yield "header only", file(head)
    yield "empty", b""
    yield "blank lines only", b"\n\n \n"
    yield "cut in the header", head[: len(head) // 2].encode()
    yield "header in capitals", file(head.upper(), *rows)
    yield "header with units", file(head.replace("week", "week (weeks)").replace("age_years", "age"), *rows)
    for code in ("utf-16", "utf-16-le", "utf-32"):
        yield code, text.encode(code)
    yield "latin-1", file(head, *rows).replace(columns[0].encode(), "caf\xe9".encode("latin-1"), 1)
    yield "rows ended by CR", text.replace("\n", "\r").encode()
    yield "a picture", bytes(rng.integers(0, 256, 2000, dtype=np.uint8))
    yield "a page", b"<html><body>404, not found</body></html>\n"
    # what is the same table in other clothes
    yield "byte order mark", b"\xef\xbb\xbf" + content
    yield "CRLF", text.replace("\n", "\r\n").encode()
    yield "blank lines", text.replace("\n", "\n\n").encode()
    yield "white space", text.replace(",", " , ").replace("\n", " \n").encode()
    yield "quoted", "".join(",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in lines).encode()
    yield "rows in another order", file(head, *rng.permutation(rows))
    yield "blank rows at the end", content + b"\n\n"


def damaged_cells(name, frame, rng):
    """(what, bytes) of one CSV file with a cell that says nothing the column can hold, or says it another way."""
    for column in NUMBERS[name]:
        row = int(rng.integers(len(frame)))
        for value in NO_NUMBERS:
            yield f"{column} {value[:12]}", csv_bytes(_with(frame, row, column, value))
    for column in KEYS[name]:
        row = int(rng.integers(len(frame)))
        old = frame[column].iloc[row]
        for value in ("", " ", "abc", f"0{old}", f"{old}.0", f"{old} \t{old}", "x" * 200_000, "'", '"', "\r", "\x00"):
            yield f"{column} {value[:12]!r}", csv_bytes(_with(frame, row, column, value))
        for other in (old.upper(), old.lower(), old.replace("_", " _ ")):
            if other != old:
                yield f"{column} {other}", csv_bytes(_with(frame, row, column, other))


def _with(frame, row, column, value):
    changed = frame.astype({column: object})
    changed.iloc[row, changed.columns.get_loc(column)] = value
    return changed


def damaged_parquet(name, frame, rng):
    """(what, bytes) of one Parquet file whose columns have other types, or whose bytes are not whole."""
    content = parquet_bytes(frame)
    yield "as it is", content
    yield "ids as whole numbers", parquet_bytes(frame.astype({"patient_id": int}))
    yield "ids as floats", parquet_bytes(frame.astype({"patient_id": float}))
    yield "ids as categories", parquet_bytes(frame.astype({"patient_id": "category"}))
    yield "ids as bytes", parquet_bytes(frame.assign(patient_id=frame["patient_id"].map(str.encode)))
    yield "white space", parquet_bytes(frame.assign(patient_id=" " + frame["patient_id"] + "\t"))
    yield "rows in another order", parquet_bytes(frame.sample(frac=1, random_state=int(rng.integers(1000))))
    yield "ids as an index", parquet_bytes(frame.set_index("patient_id"))
    yield "ids as lists", parquet_bytes(frame.assign(patient_id=[[i] for i in frame["patient_id"]]))
    yield "ids with zeros in front", parquet_bytes(frame.assign(patient_id="0" + frame["patient_id"]))
    for column in NUMBERS[name]:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        yield f"{column} as dates", parquet_bytes(frame.assign(**{column: pd.Timestamp("2020-01-01")}))
        yield f"{column} as flags", parquet_bytes(frame.assign(**{column: True}))
        yield f"{column} as lists", parquet_bytes(frame.assign(**{column: [[1.0]] * len(frame)}))
        for value in (np.inf, -np.inf, 1e300, -1.0):
            worse = numbers.astype(float).mask(frame.index == 3, value)
            yield f"{column} {value}", parquet_bytes(frame.assign(**{column: worse}))
    for _ in range(4):
        yield "cut", content[: int(rng.integers(len(content)))]
    yield "empty", b""
    yield "a CSV file", csv_bytes(frame)


def catalogue(seed=20261125):
    """Name of each damage -> the files of the trial with one of them damaged."""
    rng = np.random.default_rng(seed)
    usual, found = whole(), {}
    for name, frame in tables().items():
        as_csv = [*damaged_text(name, usual[f"{name}.csv"], rng), *damaged_cells(name, frame, rng)]
        as_parquet = damaged_parquet(name, frame, rng)
        rest = {key: value for key, value in usual.items() if key != f"{name}.csv"}
        for suffix, damages in (("csv", as_csv), ("parquet", as_parquet)):
            for what, content in damages:
                found[f"{len(found)} {name}.{suffix}: {what}"] = {**rest, f"{name}.{suffix}": content}
    return found
