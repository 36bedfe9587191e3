"""Cases: names of files that are safe and tell visits apart, and words that choose among known ones."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ms.dataset_conversion.cases import Case, Mask, choose, label_names, names_of
from nnunet_ms.errors import ConversionError
from tests.dataset_conversion.conftest import edit, refused


@given(patient=st.text(min_size=1), visit=st.text())
def test_any_name_becomes_a_safe_file_name(patient, visit):
    # Oracle: the characters of a portable file name (POSIX.1-2017, 3.282), and no hidden file
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", Case(patient, visit, None, {}, None).case_id)


def test_names_in_other_scripts_stay_apart():
    names = {Case(name, "", None, {}, None).case_id for name in ("Zoë", "Zoé", "名前", "氏名", "Zo-")}
    assert len(names) == 5


def test_files_of_a_case_with_the_masks_last():
    images, first, second = {"flair": Path("f"), "t1": Path("t")}, Path("a"), Path("b")
    assert Case("P", "", None, images, None).files() == images
    assert list(Case("P", "", None, images, Mask({"x": first})).files().items())[2:] == [("label", first)]
    several = Case("P", "", None, images, Mask({"1": first, "2": second}, "majority")).files()
    assert list(several.items())[2:] == [("label_1", first), ("label_2", second)]


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        ("t2_lesions", {"background": 0, "lesion": 1}),
        ("t1_unenhancing,t1_enhancing", {"background": 0, "unenhancing": 1, "enhancing": 2}),
        ("signed_change", {"background": 0, "brighter": 1, "darker": 2}),
    ],
)
def test_labels_of_a_target(target, labels):
    assert label_names(target) == labels


@pytest.mark.parametrize("names", [["flair", "t3"], ["flair", "flair"], []])
def test_names_that_cannot_be_chosen(names):
    assert choose(["t1", "flair"], ("flair", "t1"), "--channels", Path("study")) == ["t1", "flair"]
    with pytest.raises(
        ConversionError, match=r"study: --channels .*: expected different names among \['flair', 't1'\]"
    ):
        choose(names, ("flair", "t1"), "--channels", Path("study"))


@pytest.mark.parametrize(
    ("words", "names"),
    [(None, ()), ("", ()), (" , ", ()), (" a, b ,", ("a", "b")), (["a", "b"], ("a", "b")), ((1, 2), ("1", "2"))],
)
def test_names_from_text_or_a_list(words, names):
    assert names_of(words) == names


def test_two_visits_with_one_file_name(trial, raw, capsys):
    def clash(frame):
        frame.loc[:1, "visit"] = ["a b", "a/b"]

    edit(trial, clash)
    assert "both become case P1_a-b" in refused(trial, raw, capsys)
