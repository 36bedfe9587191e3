"""Masks made by hand; scores and candidates by eye."""

from pathlib import Path

import numpy as np
import pytest

from nnunet_ms.analysis.evaluation.lesion_candidates import BOTH, COMMON, NOT_COUNTED, OWN, case_candidates
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.images.volumes import Grid, Volume

SHAPE = (30, 10, 4)
GRID = Grid(SHAPE, np.eye(4))
RULE = rules_by_name(["krishnan2023"])[0]


def mask(*boxes):
    data = np.zeros(SHAPE, np.uint8)
    for first, last in boxes:
        data[first:last, 2:4, 1] = 1
    return Volume(data, GRID, Path("mask"))


def probability(*boxes):
    data = np.full(SHAPE, 0.1, np.float32)
    for first, last, value in boxes:
        data[first:last, 2:4, 1] = value
    return Volume(data, GRID, Path("probability"))


REFERENCE = mask((0, 4), (10, 14), (20, 24))  # 8 voxels each


@pytest.fixture(scope="module")
def table():
    """`a` finds the first with two parts, has one false; `b` finds the second, its false one touches that of `a`."""
    masks = {"a": mask((0, 2), (3, 5), (26, 28)), "b": mask((10, 14), (27, 30))}
    maps = {
        "a": probability((0, 2, 0.6), (3, 5, 0.9), (26, 28, 0.7)),
        "b": probability((10, 14, 0.8), (27, 30, 0.55)),
    }
    return case_candidates(REFERENCE, masks, maps, RULE)


def rows(table, rater, counted):
    chosen = table[(table["rater"] == rater) & (table["counted"] == counted)]
    return list(zip(chosen["candidate"], chosen["score"].round(6), chosen["volume_ml"].round(6), strict=True))


def test_a_found_lesion_has_the_highest_score_of_its_components_and_a_missed_one_0(table):
    assert rows(table, "a", BOTH) == [("r1", 0.9, 0.008), ("r2", 0.0, 0.008), ("r3", 0.0, 0.008)]
    assert rows(table, "b", BOTH) == [("r1", 0.0, 0.008), ("r2", 0.8, 0.008), ("r3", 0.0, 0.008)]


def test_false_components_are_each_models_own(table):
    assert rows(table, "a", OWN) == [("f1", 0.7, 0.004)]
    assert rows(table, "b", OWN) == [("f1", 0.55, 0.006)]


def test_common_false_candidates_are_joined_across_models(table):
    assert rows(table, "a", COMMON) == [("c1", 0.7, 0.008)]
    assert rows(table, "b", COMMON) == [("c1", 0.55, 0.008)]


def test_a_model_without_a_false_component_there_scores_0():
    masks = {"a": mask((26, 28)), "b": mask((0, 4))}
    table = case_candidates(REFERENCE, masks, {"a": probability((26, 28, 0.7)), "b": probability((0, 4, 0.9))}, RULE)
    assert rows(table, "b", COMMON) == [("c1", 0.0, 0.004)]
    assert rows(table, "b", OWN) == []


def test_one_model_has_one_set_of_candidates():
    table = case_candidates(REFERENCE, {"a": mask((26, 28))}, {"a": probability((26, 28, 0.7))}, RULE)
    assert set(table["counted"]) == {BOTH}
    assert list(table["candidate"]) == ["r1", "r2", "r3", "f1"]


def test_confirmed_components_are_listed_but_no_candidates(table):
    assert rows(table, "a", NOT_COUNTED) == [("p1", 0.6, 0.004), ("p2", 0.9, 0.004)]


def test_a_lesion_below_the_rules_overlap_is_not_found_and_scores_0():
    reference, predicted = mask((0, 22)), mask((0, 2), (21, 30))  # 4 + 2 of 44 voxels: above 10 %
    found = case_candidates(reference, {"a": predicted}, {"a": probability((0, 30, 0.8))}, RULE)
    assert found.loc[found["truth"] == "lesion", "score"].item() == pytest.approx(0.8)
    missed = case_candidates(reference, {"a": mask((0, 2))}, {"a": probability((0, 30, 0.8))}, RULE)
    assert missed.loc[missed["truth"] == "lesion", "score"].item() == 0


def test_nothing_gives_no_rows():
    assert len(case_candidates(mask(), {"a": mask()}, {"a": probability()}, RULE)) == 0
