"""Oracle: the rows of pharmaverse's TTET01, and the numbers of the same run in endpoints.csv."""

import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import value_of
from nnunet_ms.analysis.report.blocks.time_to_event import time_to_event_table
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import SETTINGS, patients, write_trial

# https://insightsengineering.github.io/tlg-catalog: variant with strata and time points, without its heading lines
TTET01 = [
    "patients with event, n (%)", "patients without event, n (%)", "25 % with event by (95 % CI)", "median (95 % CI)",
    "75 % with event by (95 % CI)", "range", "hazard ratio", "95 % CI", "p (Wald)", "p (log-rank)",
    "patients remaining at risk", "event-free rate, % (95 % CI)", "difference, % points (95 % CI)", "p (Z test)",
]  # fmt: skip


def table_of(folder, settings=SETTINGS, **tables):
    trial = read_trial(read_settings(write_trial(folder, settings, **tables)))
    rows = compute_endpoints(trial).endpoints
    rows = rows[rows["endpoint"] == "cdp24"]
    return time_to_event_table(trial, rows, "cdp24"), rows


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("ttet"))


def test_every_row_of_the_template_is_there_once_per_analysis_and_time_point(made):
    table, _ = made
    labels = [line[0] for line in table.lines if len(line) > 1]
    assert set(TTET01) <= set(labels)
    assert labels.count("hazard ratio") == 2  # unstratified and stratified
    heads = [line[0] for line in table.lines if len(line) == 1]
    assert heads[:2] == ["Time to event (weeks)", "Unstratified analysis"]
    assert heads[2].startswith("Stratified analysis (")
    assert labels.count("p (Z test)") == len([head for head in heads if head.startswith("Week ")])


def test_heads_say_how_many_and_cells_are_the_long_tables_numbers(made):
    table, rows = made
    sizes = [value_of(rows, analysis="km_by_arm", arm=arm, stat_name="n") for arm in ("placebo", "active")]
    assert table.head == ["", *(f"{arm} (N={n:.0f})" for arm, n in zip(("placebo", "active"), sizes, strict=True))]
    cells = {line[0]: line[1:] for line in table.lines if len(line) > 1}
    events = [value_of(rows, analysis="km_by_arm", arm=arm, stat_name="events") for arm in ("placebo", "active")]
    shares = [f"{n:.0f} ({100 * n / size:.1f})" for n, size in zip(events, sizes, strict=True)]
    assert cells["patients with event, n (%)"] == shares
    rest = [f"{size - n:.0f} ({100 - 100 * n / size:.1f})" for n, size in zip(events, sizes, strict=True)]
    assert cells["patients without event, n (%)"] == rest


def test_every_line_has_a_cell_per_arm(made):
    table, _ = made
    assert {len(line) for line in table.lines} == {1, 3}


def test_three_arms_have_their_numbers_against_the_reference(tmp_path):
    table = patients(90)
    table["arm"] = pd.Series(["placebo", "low", "high"] * 30)
    settings = SETTINGS.replace('["active"]', '["low", "high"]')
    made, rows = table_of(tmp_path, settings, patients=table)
    ratios = next(line for line in made.lines if line[0] == "hazard ratio")
    assert ratios[1] == ""
    for cell, arm in zip(ratios[2:], ("low", "high"), strict=True):
        keys = {"analysis": "cox_by_arm", "contrast": f"{arm} - placebo", "stat_name": "hazard_ratio"}
        assert cell == f"{value_of(rows, **keys):.2f}"
