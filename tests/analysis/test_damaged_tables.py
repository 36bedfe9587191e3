"""Damaged tables by the hundred: each is refused in one line, or its numbers are those of the whole table.

Oracle: the undamaged trial. What was read is compared, as every number is computed from it; a few are computed.
"""

from types import SimpleNamespace

import pandas as pd
import pytest

from nnunet_ms.analysis import run_trial
from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints_cli import main
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.table_damage import catalogue, whole, write

DAMAGES = catalogue()
CHUNKS = 8


def read(path):
    return read_trial(read_settings(path))


def content(trial):
    """Everything that numbers are computed from, in an order of its own."""
    frames = (trial.patients, trial.volumes, trial.counts, trial.assessments, trial.exclusions)
    keys = ["patient_id", "week", "rater", "lesion_type", "analysis", "reason"]
    return [
        frame.sort_values([key for key in keys if key in frame], ignore_index=True).sort_index(axis=1)
        for frame in frames
    ]


def same(one, other):
    try:
        for a, b in zip(content(one), content(other), strict=True):
            pd.testing.assert_frame_equal(a, b, check_exact=True)
    except AssertionError:
        return False
    return one.raters == other.raters


@pytest.fixture
def only_reading(monkeypatch):
    """The command without its computation: what it read is kept."""
    kept = []

    def compute(trial, progress):
        kept.append(trial)
        return SimpleNamespace(endpoints=pd.DataFrame(), exclusions=trial.exclusions)

    monkeypatch.setattr(run_trial, "compute_endpoints", compute)
    monkeypatch.setattr(run_trial, "write_results", lambda *_: None)
    return kept


def test_the_catalogue_has_more_than_500_damages():
    assert len(DAMAGES) > 500
    assert len({tuple(sorted(files.items())) for files in DAMAGES.values()}) > 500


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_damaged_table_is_one_line_or_gives_the_same_numbers(chunk, tmp_path, capsys, only_reading):
    undamaged, wrong = read(write(tmp_path / "whole", whole())), []
    for name in list(DAMAGES)[chunk::CHUNKS]:
        only_reading.clear()
        path = write(tmp_path / "in", DAMAGES[name])
        code = main(["run", str(path), "-o", str(tmp_path / "out")])
        told = capsys.readouterr()
        if code == 2 and len(told.err.splitlines()) == 1 and len(told.err) < 1500:
            continue
        listed = only_reading and len(only_reading[0].exclusions) > len(undamaged.exclusions)
        if code == 0 and not told.err and (same(only_reading[0], undamaged) or listed):
            continue
        wrong.append((name, code, told.err[:300]))
    assert wrong == []


SAME = (
    "byte order mark",
    "CRLF",
    "white space",
    "quoted",
    "blank lines",
    "rows in another order",
    "blank rows at the end",
)
SAME_PARQUET = (
    "as it is",
    "whole numbers",
    "floats",
    "categories",
    "bytes",
    "white space",
    "another order",
    "an index",
)


@pytest.mark.parametrize("name", [n for n in DAMAGES if n.endswith(SAME + SAME_PARQUET)])
def test_a_table_in_other_clothes_is_the_same_table(name, tmp_path):
    assert same(read(write(tmp_path / "in", DAMAGES[name])), read(write(tmp_path / "whole", whole())))


def test_numbers_do_not_depend_on_clothes_and_order(tmp_path):
    found = compute_endpoints(read(write(tmp_path / "whole", whole()))).endpoints
    files = whole()
    for end in ("visits.csv: rows in another order", "patients.csv: quoted", "assessments.parquet: ids as floats"):
        changed = next(DAMAGES[name] for name in DAMAGES if name.endswith(end))
        table = end.partition(":")[0]
        files = {k: v for k, v in files.items() if k.partition(".")[0] != table.partition(".")[0]} | {
            table: changed[table]
        }
    other = compute_endpoints(read(write(tmp_path / "in", files))).endpoints
    pd.testing.assert_frame_equal(other, found, check_exact=True)
