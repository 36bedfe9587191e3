"""Every table and listing of a run as files. Oracle: the CSV files of the same run."""

import pandas as pd
import pypdf
import pytest

from nnunet_ms.analysis.run_trial import run_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError
from tests.analysis.report.test_rtf import Rtf
from tests.analysis.synthetic_trial import SETTINGS, write_trial

REPORT = """
[report]
title = "A better title"
study = "ABC-1"
data_cut = 2025-12-31
status = "draft"
"""


@pytest.fixture
def undrawn(monkeypatch):
    """For tests that need no figure: drawing takes most of the time."""
    monkeypatch.setattr("nnunet_ms.analysis.run_trial._draw", lambda *_: {})


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    run_trial(write_trial(folder, SETTINGS + REPORT), folder / "out")
    return folder / "out"


def test_every_table_and_listing_is_listed_with_its_number(out):
    contents = pd.read_csv(out / "contents.csv", dtype=str)
    assert contents["number"].is_unique
    for row in contents.itertuples():
        assert (out / row.file).is_file(), row.file
        document = Rtf((out / row.file).with_suffix(".rtf").read_text(encoding="ascii"))
        header = "".join(document.header)
        assert f" {row.number}\n" in header
        assert row.title in header
        assert "A better title, Study ABC-1, Data cut 2025-12-31, DRAFT" in header


def test_listings_hold_every_row(out):
    for name in ("patients", "cdp24"):
        document = Rtf((out / "audit" / f"{name}.rtf").read_text(encoding="ascii"))
        frame = pd.read_csv(out / "audit" / f"{name}.csv", dtype=str)
        heads = list(frame.columns)
        rows = [row for row in document.rows if row != heads and len(row) == len(heads)]
        assert [row[0] for row in rows] == frame["patient_id"].tolist()


def test_the_pdf_holds_every_table_in_order(out):
    contents = pd.read_csv(out / "contents.csv", dtype=str)
    tables = contents[contents["file"].str.startswith("tables/")]
    outline = pypdf.PdfReader(out / "tables" / "tables.pdf").outline
    assert [entry.title.split()[1] for entry in outline] == tables["number"].tolist()


def test_the_page_has_the_numbers_the_title_and_folds(out):
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "<h1>A better title</h1>" in page
    assert "Study ABC-1 · Data cut 2025-12-31 · DRAFT" in page
    assert "Table 14.1.1.1. " in page
    assert '<details class="beside">' in page


@pytest.mark.usefixtures("undrawn")
def test_blocks_are_chosen_and_ordered(tmp_path):
    chosen = '[report]\nblocks = ["cdp24_by_arm", "baseline"]\n'
    keys = run_and_list(write_trial(tmp_path, f"{SETTINGS}\n{chosen}"), tmp_path / "out")
    assert keys == ["cdp24_by_arm", "baseline"]


def run_and_list(settings, out):
    run_trial(settings, out)
    page = (out / "index.html").read_text(encoding="utf-8")
    return [part.split('"')[0] for part in page.split('<section id="')[1:] if not part.startswith("main-estimates")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('data_cut = "31.12.2025"', r"data_cut.*a date such as 2015-07-24.*31\.12\.2025"),
        ('data_cut = "2025-13-01"', r"data_cut.*a date such as"),
        ('status = "almost"', r"status.*'draft', 'final'.*almost"),
        ('titel = "x"', "unknown key 'titel'.*title"),
        ("study = 5", "study.*text in quotes.*5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, line, message):
    path = write_trial(tmp_path, f"{SETTINGS}\n[report]\n{line}\n")
    with pytest.raises(SettingsError, match=message):
        read_settings(path)


@pytest.mark.usefixtures("undrawn")
def test_a_block_that_there_is_not_is_refused_with_those_there_are(tmp_path):
    path = write_trial(tmp_path, f'{SETTINGS}\n[report]\nblocks = ["cdp24_by"]\n')
    with pytest.raises(
        SettingsError, match=r"blocks: expected some of .*'cdp24_by_arm'.*found 'cdp24_by'.*mean cdp24_by_arm"
    ):
        run_trial(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
