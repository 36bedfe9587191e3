"""Which visits make pairs, by names only: order, what has no pair, words that mean nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from nnunet_ms.dataset_conversion.cases import Case, Mask
from nnunet_ms.dataset_conversion.convert import convert
from nnunet_ms.dataset_conversion.pairs import PairOptions, pair_cases
from nnunet_ms.dataset_conversion.sources import msseg2_2021, open_ms_longitudinal, trial
from nnunet_ms.errors import ConversionError, OptionError

CONSECUTIVE = PairOptions("consecutive")


def visit(name, week=None, patient="P1", **more):
    images = {"flair": Path(patient, name, "flair.nii.gz")}
    return Case(patient, name, week, images, Mask({"t2_lesions": Path(patient, name, "mask.nii.gz")}), **more)


def paired(visits, options=CONSECUTIVE):
    return [(case.pair.baseline.visit, case.visit) for case in pair_cases(visits, trial.SOURCE, options)]


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        ([("w48", 48), ("w0", 0), ("w24", 24)], [("w0", "w24"), ("w24", "w48")]),
        ([("b", -4), ("a", 12)], [("b", "a")]),  # the weeks say it, whatever the names
        ([("week100", None), ("week24", None), ("week3", None)], [("week3", "week24"), ("week24", "week100")]),
        ([("m06", None), ("baseline", None)], [("baseline", "m06")]),
        ([("2019-03-01", None), ("2018-11-30", None)], [("2018-11-30", "2019-03-01")]),
        ([("FU", None), ("Screening", None)], [("Screening", "FU")]),
    ],
)
def test_visits_are_paired_in_the_order_of_time(visits, expected):
    assert paired([visit(*one) for one in visits]) == expected


def test_every_visit_with_the_first_one():
    visits = [visit("w48", 48), visit("w24", 24), visit("w0", 0)]
    assert paired(visits, PairOptions("baseline")) == [("w0", "w24"), ("w0", "w48")]


@pytest.mark.parametrize(
    ("visits", "words"),
    [
        ([visit("w24", 24)], r"patient P1: found one visit \(w24\): a follow-up without a baseline"),
        ([visit("", None)], r"found one visit \(1\)"),
        (
            [visit("base", 0), visit("w24", None)],
            r"expected a week for every visit or for none, found none for \['w24'\]",
        ),
        ([visit("base", 0), visit("w24", 24), visit("repeat", 24)], "different weeks, found two in week 24"),
        ([visit("base", 0, problem="no flair"), visit("w24", 24)], "baseline visit base: no flair"),
        ([visit("base", 0), visit("w24", 24, problem="no flair")], "no flair"),
    ],
)
def test_what_makes_no_pair_is_a_case_with_that_problem(visits, words):
    (case,) = pair_cases(visits, trial.SOURCE, CONSECUTIVE)
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(case.problem)


def test_other_patients_are_paired_although_one_has_no_pair():
    found = pair_cases([visit("base", 0), visit("w24", 24), visit("base", 0, patient="P2")], trial.SOURCE, CONSECUTIVE)
    assert [(case.case_id, bool(case.problem)) for case in found] == [("P1_w24", False), ("P2_base", True)]


def test_a_pair_holds_the_files_of_both_and_says_how_it_was_found():
    first, second = visit("a"), replace(visit("b"), label=None)
    (case,) = pair_cases([second, first], trial.SOURCE, CONSECUTIVE)
    assert {name: path.parent.name for name, path in case.images.items()} == {
        "flair_baseline": "a",
        "flair_followup": "b",
    }
    assert case.label is None
    assert case.remark.startswith(
        "paired in the order of the visits' names: no weeks are known, and with a mask at one"
    )
    (both,) = pair_cases([first, visit("b")], trial.SOURCE, CONSECUTIVE)
    assert list(both.files()) == ["flair_baseline", "flair_followup", "label_baseline", "label_followup"]


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("trial", {"pairs": "all"}, "pairs: expected one of 'consecutive', 'baseline', found 'all'"),
        ("trial", {"pairs": "baseline", "space": "mni"}, "space: expected one of 'baseline', 'halfway', found 'mni'"),
        ("trial", {"pairs": "baseline", "registration": "syn"}, "registration: expected one of .*, found 'syn'"),
        (
            "trial",
            {"pairs": "baseline", "target": "t2_lesions"},
            "target: expected one of 'new', .* found 't2_lesions'",
        ),
        ("trial", {"pairs": "baseline", "pair_channels": "both"}, "pair_channels: expected one of .* found 'both'"),
        ("trial", {"space": "halfway"}, "--space halfway: expected --pairs consecutive or baseline beside it"),
        ("trial", {"pair_channels": "all"}, "--pair-channels all: expected --pairs"),
        ("trial", {"accept_poor_registration": True}, "--accept-poor-registration: expected --pairs"),
        ("trial", {"lesions": "t1_enhancing"}, "--lesions t1_enhancing: expected --pairs beside it"),
        ("trial", {"pairs": "baseline", "steps": {"to_baseline": True}}, "--to-baseline and --pairs: expected one"),
        ("trial", {"pairs": "baseline", "steps": {"to_mni": True}}, "--to-mni and --pairs: expected one"),
        ("trial", {"pairs": "baseline", "registration": "published"}, "--registration published: expected a source"),
        (
            "open_ms_longitudinal",
            {"pairs": "baseline", "target": "new"},
            r"--target new: expected one of .* the mask of",
        ),
        ("msseg2_2021", {"pairs": "baseline", "target": "all"}, r"--target all: expected one of \['new'\]"),
        ("msseg2_2021", {"pairs": "baseline", "lesions": "change"}, "--lesions change: expected one of"),
    ],
)
def test_words_that_mean_nothing_are_refused(tmp_path, kind, words, message):
    (tmp_path / "manifest.csv").write_text("patient_id,visit,week,flair\nP1,a,0,a.nii.gz\nP1,b,4,b.nii.gz\n")
    source = tmp_path / "manifest.csv" if kind == "trial" else tmp_path
    with pytest.raises((ConversionError, OptionError), match=message):
        convert(source, kind, dataset_id=7, raw=tmp_path / "raw", channels="flair", **words)


@pytest.mark.parametrize(("source", "target"), [(open_ms_longitudinal, "new_or_enlarging"), (msseg2_2021, "new")])
def test_a_case_that_holds_both_visits_is_split(source, target):
    both = {"flair_baseline": Path("a.nii"), "flair_followup": Path("b.nii")}
    ways = {"flair_followup": (Path("b.txt"),)}
    case = Case("P1", "", None, both, Mask({"new": Path("gt.nii")}), transforms=ways, reference=Path("gt.nii"))
    (found,) = pair_cases([case, replace(case, patient_id="P2", problem="damaged")], source.SOURCE, CONSECUTIVE)[:1]
    assert (found.pair.target, found.pair.is_shared) == (target, True)
    assert found.pair.baseline.images == {"flair": Path("a.nii")}
    assert found.pair.followup.transforms == {"flair": (Path("b.txt"),)}
