"""Several raters. Oracles: error rates that are known by construction, a naive matching, sums by hand, `evaluate`."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.evaluate_cli import main
from nnunet_ms.analysis.evaluation.evaluate import evaluate
from nnunet_ms.analysis.evaluation.rater_matrix import rater_matrix
from nnunet_ms.analysis.evaluation.rater_tables import (
    MISSING_RATERS,
    RATER_CASES,
    RATER_MATRIX,
    RATER_SIZES,
    STAPLE_CASES,
    STAPLE_RATES,
    WILLIAMS,
)
from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.tables import FAILURES, read_table
from tests.lesions.naive_matching import scores

WRITTEN = {
    "rater_matrix.csv": RATER_MATRIX,
    "rater_cases.csv": RATER_CASES,
    "rater_sizes.csv": RATER_SIZES,
    "williams.csv": WILLIAMS,
    "staple.csv": STAPLE_RATES,
    "staple_cases.csv": STAPLE_CASES,
    "missing_raters.csv": MISSING_RATERS,
    "failures.csv": FAILURES,
}
RATERS = "ABCDEFG"
MISSED = dict(zip(RATERS, (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4), strict=True))  # share of lesions
CASES = [f"c{number:02d}" for number in range(28)]  # as many as MSSEG 2016 has in its test set
SIZES = {"3 to 10": 2, "11 to 50": 3, "> 50": 4}  # edge of a cube: 8, 27 and 64 voxels
CORNERS = [(x, y, z) for x in (1, 7, 13) for y in (1, 7) for z in (1, 7)]  # at least two voxels between cubes
ABSENT = {("c03", "C"), ("c05", "C"), ("c05", "A")}


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(data, dtype=np.uint8), np.eye(4)), path)


def cube(mask, corner, edge):
    mask[tuple(slice(first, first + edge) for first in corner)] = 1


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folders of seven raters, a model and the truth, and how many lesions of each size each of them draws or misses.

    Every lesion is a cube by itself; a rater draws it whole or not at all, and draws false ones where there is none, so
    every count is known.
    """
    folder, generator = tmp_path_factory.mktemp("raters"), np.random.default_rng(2016)
    known = {name: {size: {"found": 0, "false": 0} for size in SIZES} for name in [*RATERS, "net"]}
    lesions = dict.fromkeys(SIZES, 0)
    for case in CASES:
        order = generator.permutation(len(CORNERS))
        edges = generator.choice(list(SIZES.values()), len(CORNERS))
        names = {edge: size for size, edge in SIZES.items()}
        truth = np.zeros((18, 12, 12))
        for at in order[:8]:
            cube(truth, CORNERS[at], edges[at])
            lesions[names[edges[at]]] += 1
        save(folder / "truth" / f"{case}.nii.gz", truth)
        for reader in [*RATERS, "net"]:
            mask, missed = np.zeros_like(truth), MISSED.get(reader, 0.12)
            for place, at in enumerate(order):
                drawn = generator.random() > missed if place < 8 else generator.random() < missed / 2
                if drawn:
                    cube(mask, CORNERS[at], edges[at])
                    known[reader][names[edges[at]]]["found" if place < 8 else "false"] += 1
            if (case, reader) not in ABSENT:
                save(folder / reader / f"{case}.nii.gz", mask)
            else:
                known[reader]["incomplete"] = True
    return folder, known, lesions


@pytest.fixture(scope="module")
def found(study):
    folder = study[0]
    return rater_matrix(
        [folder / name for name in RATERS],
        folder / "out",
        models={"net": folder / "net"},
        references=folder / "truth",
        note="simulated",
    )


def mask_of(study, reader, case):
    return np.asanyarray(nib.load(study[0] / reader / f"{case}.nii.gz").dataobj) > 0


def test_detection_by_size_is_what_the_raters_were_made_with(study, found):
    # Oracle: the cubes that each rater was told to draw; of raters who have read every case.
    _, known, lesions = study
    against = found.sizes[found.sizes["versus"] == "reference"].set_index(["rater", "size_bin"])
    for reader, counts in known.items():
        if "incomplete" in counts:
            continue
        for size in SIZES:
            row, of_size = against.loc[(reader, size)], counts[size]
            assert (row["found_lesions"], row["reference_lesions"]) == (of_size["found"], lesions[size]), (reader, size)
            assert row["false_lesions"] == of_size["false"], (reader, size)
            assert row["ltpr"] == pytest.approx(of_size["found"] / lesions[size])
            assert row["lfpr"] == pytest.approx(of_size["false"] / (of_size["false"] + of_size["found"]))
    assert set(found.sizes["size_bin"]) == {*SIZES, "all"}


@pytest.mark.parametrize(("reader", "versus"), [("A", "B"), ("G", "C"), ("net", "A"), ("B", "reference")])
def test_a_pair_is_compared_as_a_model_with_a_reference(study, found, reader, versus):
    # Oracle: matching by one pass over the volume per lesion; means by hand over the cases that both have.
    shared = [case for case in CASES if not {(case, reader), (case, versus)} & ABSENT]
    folder = {"reference": "truth"}.get(versus, versus)
    expected = [scores(mask_of(study, folder, case), mask_of(study, reader, case)) for case in shared]
    rows = found.matrix.query("rater == @reader and versus == @versus").set_index("metric")
    assert (rows["n_cases"] == len(shared)).all()
    for metric in ("dice", "ltpr", "lfpr", "ppv"):
        values = [one[metric] for one in expected]
        assert rows.loc[metric, "mean"] == pytest.approx(np.nanmean(values))
        assert rows.loc[metric, "n"] == np.count_nonzero(~np.isnan(values))


def test_the_numbers_of_a_pair_are_those_of_an_evaluation(study, found, tmp_path, monkeypatch):
    # Oracle: `evaluate` of one rater as the model and another as the reference, with intervals and correlations.
    monkeypatch.setattr("nnunet_ms.analysis.evaluation.evaluate._draw", lambda *_: None)
    folder = study[0]
    other = evaluate(folder / "D", folder / "E", tmp_path / "out").agreement.set_index("metric")
    rows = found.matrix.query("rater == 'D' and versus == 'E'").set_index("metric")
    names = ["mean", "sd", "n", "n_undefined", "se", "low", "high"]
    pd.testing.assert_frame_equal(rows[names], other.loc[rows.index, names], check_names=False, check_dtype=False)


def test_a_missing_rater_is_named_and_pairs_are_of_the_cases_that_both_have(found):
    assert {tuple(row) for row in found.missing[["case_id", "rater"]].to_numpy()} == ABSENT
    n = found.matrix.query("metric == 'dice'").set_index(["rater", "versus"])["n_cases"]
    assert (n["A", "B"], n["A", "C"], n["C", "D"], n["D", "E"]) == (27, 26, 26, 28)
    assert (n["A", "C"], n["C", "net"], n["C", "majority"]) == (n["C", "A"], n["net", "C"], 26)
    assert found.failures == []
    raters = found.staple_cases.groupby("case_id")["n_raters"].first()
    assert (raters["c00"], raters["c03"], raters["c05"]) == (7, 6, 5)


def test_the_majority_is_of_the_raters_without_the_model(study, found):
    # Oracle: votes counted here, Dice by the definition (no cube is below the size filter, and cubes are kept whole).
    rows = found.cases.query("metric == 'dice'").set_index(["case_id", "rater", "versus"])["value"]
    for case, readers in (("c00", RATERS), ("c03", "ABDEFG"), ("c05", "BDEFG")):
        masks = {reader: mask_of(study, reader, case) for reader in readers}
        votes = sum(mask.astype(int) for mask in masks.values())
        net, consensus = mask_of(study, "net", case), votes > len(masks) / 2
        expected = 2 * (net & consensus).sum() / (net.sum() + consensus.sum())
        assert rows[case, "net", "majority"] == pytest.approx(expected)
        assert rows[case, "net", "majority_of_others"] == pytest.approx(expected)
        for reader, mask in masks.items():
            others = votes - mask > (len(masks) - 1) / 2
            without = 2 * (mask & others).sum() / (mask.sum() + others.sum())
            assert rows[case, reader, "majority_of_others"] == pytest.approx(without), (case, reader)
    assert "net" not in set(found.staple["rater"])


def test_williams_index_from_the_matrix_by_hand(found):
    # Oracle: the definition on the table of mean Dice: own pairs over the others' pairs.
    dice = found.matrix.query("metric == 'dice'").set_index(["rater", "versus"])["mean"]
    index = found.williams.query("metric == 'dice'").set_index("rater")
    for reader in [*RATERS, "net"]:
        group = [rater for rater in RATERS if rater != reader]
        own = np.mean([dice[reader, rater] for rater in group])
        within = np.mean([dice[a, b] for i, a in enumerate(group) for b in group[i + 1 :]])
        assert index.loc[reader, "williams_index"] == pytest.approx(own / within), reader
        assert index.loc[reader, "low"] < index.loc[reader, "williams_index"] < index.loc[reader, "high"]
    assert index.loc["A", "williams_index"] > 1 > index.loc["G", "williams_index"]  # who miss least and most
    assert (index.loc["net", "n_raters"], index.loc["A", "n_raters"]) == (7, 6)
    assert (index.loc["net", "n_complete"], index.loc["net", "n_cases"]) == (26, 28)


def test_detection_in_both_directions_is_averaged_for_the_index(found):
    ltpr = found.cases.query("metric == 'ltpr'").set_index(["rater", "versus", "case_id"])["value"]
    both = {
        (a, b): np.nanmean(
            [(ltpr[a, b, case] + ltpr[b, a, case]) / 2 for case in CASES if not {(case, a), (case, b)} & ABSENT]
        )
        for i, a in enumerate(RATERS)
        for b in RATERS[i + 1 :]
    }
    own, within = ([value for pair, value in both.items() if ("B" in pair) is is_own] for is_own in (True, False))
    index = found.williams.query("metric == 'ltpr'").set_index("rater")["williams_index"]
    assert index["B"] == pytest.approx(np.mean(own) / np.mean(within))


def test_the_files_can_be_read_back_and_the_page_says_who_is_missing(found):
    for name, table in WRITTEN.items():
        read_table(found.out / name, table)
    figures = {f"{stem}_krishnan2023.{end}" for stem in ("rater_matrix", "rater_sizes") for end in ("svg", "png")}
    assert {path.name for path in found.out.iterdir()} == {*WRITTEN, *figures, "raters.html"}
    page = (found.out / "raters.html").read_text(encoding="utf-8")
    assert "C in 2 of 28 cases" in page
    assert "(c03, c05)" in page
    assert "28 cases, simulated data. Raters, of whom the consensus is made: A, B, C, D, E, F, G." in page
    assert page.count('<img src="data:image/svg+xml;base64,') == 2
    assert "http" not in page.replace("http://www.w3.org", "")


def few(folder, masks):
    """Folders of masks (4, 4, 4), of each rater's cases."""
    for rater, cases in masks.items():
        for case, voxels in cases.items():
            data = np.zeros((4, 4, 4))
            data.ravel()[:voxels] = 1
            save(folder / rater / f"{case}.nii.gz", data)
    return {rater: folder / rater for rater in masks}


@pytest.fixture
def _plain(monkeypatch):
    monkeypatch.setattr("nnunet_ms.analysis.evaluation.rater_matrix._draw", lambda *_: {})


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize(
    ("masks", "pairs", "missing", "failed"),
    [
        ({"A": {"x": 8, "y": 4}, "B": {"x": 8}}, {("A", "B"): 1}, set(), ["y"]),
        ({"A": {"x": 8}, "B": {"x": 8, "y": 4}, "C": {"y": 4}}, {("A", "B"): 1, ("B", "C"): 1}, {"A", "C"}, []),
        ({"A": {"x": 8, "y": 8}, "B": {"x": 8, "y": 8}, "C": {"z": 4}}, {("A", "B"): 2}, {"C"}, ["z"]),
        ({"A": {"x": 0}, "B": {"x": 0}}, {("A", "B"): 1}, set(), []),
        ({"A": {"x": 8, "y": 0}, "B": {"x": 0, "y": 5}, "C": {"y": 5}}, {("A", "B"): 2, ("A", "C"): 1}, {"C"}, []),
    ],
)
def test_raters_missing_in_some_cases(tmp_path, masks, pairs, missing, failed):
    found = rater_matrix(few(tmp_path, masks), tmp_path / "out")
    n = found.matrix.query("metric == 'dice'").set_index(["rater", "versus"])["n_cases"]
    for (a, b), cases in pairs.items():
        assert n[a, b] == n[b, a] == cases
    assert {(a, b) for a, b in n.index if a < b and b in masks} >= set(pairs)
    if len(masks) == 3 and ("A", "C") not in pairs:
        assert ("A", "C") not in n.index  # no case that both have: no row, not a zero
    assert set(found.missing["rater"]) == missing
    assert [failure.case for failure in found.failures] == failed


@pytest.mark.usefixtures("_plain")
def test_empty_masks_are_undefined_and_counted(tmp_path):
    found = rater_matrix(few(tmp_path, {"A": {"x": 0, "y": 8}, "B": {"x": 0, "y": 8}}), tmp_path / "out")
    dice = found.matrix.query("rater == 'A' and versus == 'B' and metric == 'dice'").iloc[0]
    assert (dice["mean"], dice["n"], dice["n_undefined"], dice["n_cases"]) == (1.0, 1, 1, 2)
    assert found.staple_cases["sensitivity"].isna().tolist() == [True, True, False, False]
    assert found.williams["williams_index"].isna().all()  # one other rater agrees with nobody


@pytest.mark.usefixtures("_plain")
def test_two_lesion_types_two_rules_and_a_table_of_cases(tmp_path):
    folders = few(tmp_path, {"A": {"x": 8, "y": 8, "z": 8}, "B": {"x": 8, "y": 4, "z": 8}})
    rows = [("x", "P1", "v1", 0, "test"), ("y", "P1", "v2", 24, "test")]
    columns = ["case_id", "patient_id", "visit", "week", "role"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "cases.csv", index=False)
    found = rater_matrix(
        folders,
        tmp_path / "out",
        cases=tmp_path / "cases.csv",
        rules=["isbi2015", "msseg2016"],
        labels={"t1_unenhancing": 1, "t1_enhancing": 2},
    )
    assert set(found.matrix["rule"]) == {"isbi2015", "msseg2016"}
    assert set(found.matrix["lesion_type"]) == {"t1_unenhancing", "t1_enhancing"}
    assert set(found.matrix["n_patients"]) == {1}
    assert found.left_out == ["z"]
    dice = found.matrix.query("rule == 'isbi2015' and lesion_type == 't1_unenhancing' and metric == 'dice'")
    assert dice.set_index(["rater", "versus"])["mean"]["A", "B"] == pytest.approx((1 + 2 * 4 / 12) / 2)


@pytest.mark.usefixtures("_plain")
def test_the_command_prints_the_matrix_and_who_is_missing(tmp_path, capsys):
    few(tmp_path, {"A": {"x": 8, "y": 4}, "B": {"x": 8, "y": 8}, "C": {"x": 8}, "net": {"x": 8, "y": 8}})
    raters = [f"R{name}={tmp_path / name}" for name in "ABC"]
    model = ["--predictions", str(tmp_path / "net"), "--rater", "unet"]
    assert main(["--raters", *raters, *model, "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "majority_of_others" in printed  # whole names, so that two that begin alike can be told apart
    assert "krishnan2023, t2_lesions: mean dice of rows against columns, n = 1 to 2 cases" in printed
    assert "RC is missing in 1 case: y" in printed
    assert "Williams' index unet" in printed


@pytest.mark.usefixtures("_plain")
def test_one_bad_mask_leaves_its_case_out_and_the_others_go_on(tmp_path, capsys):
    few(tmp_path, {"A": {"x": 8, "y": 4}, "B": {"x": 8, "y": 8}})
    (tmp_path / "B" / "y.nii.gz").write_bytes(b"no image")
    assert main(["--raters", str(tmp_path / "A"), str(tmp_path / "B"), "-o", str(tmp_path / "out")]) == 1
    assert "case y: " in capsys.readouterr().err
    (tmp_path / "B" / "x.nii.gz").write_bytes(b"no image")
    with pytest.raises(ImageError, match="none of 2 cases could be compared"):
        rater_matrix([tmp_path / "A", tmp_path / "B"], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def _no_image(path):
    path.write_bytes(b"no image")


def _other_label(path):
    save(path, np.full((4, 4, 4), 2))


def _four_axes(path):
    save(path, np.zeros((4, 4, 4, 2)))


def _coarse(path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.diag([1, 1, 2, 1])), path)


def _shares(path):
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), 0.5, np.float32), np.eye(4)), path)


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize("rater", ["A", "C"])  # the first one's grid is no better than another's
@pytest.mark.parametrize("spoil", [_no_image, _other_label, _four_axes, _coarse, _shares])
def test_a_mask_that_cannot_be_used_costs_its_rater_alone(tmp_path, capsys, spoil, rater):
    # Oracle: the same raters, of whom one has no such file.
    raters = few(tmp_path, {name: {"x": 8, "y": 4, "z": 8 - number} for number, name in enumerate("ABC")})
    (tmp_path / rater / "z.nii.gz").rename(tmp_path / "aside.nii.gz")
    absent = rater_matrix(raters, tmp_path / "absent")
    spoil(tmp_path / rater / "z.nii.gz")
    command = ["--raters", *(str(tmp_path / name) for name in "ABC"), "-o", str(tmp_path / "out")]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert f"{rater} is missing in 1 case: z" in printed.out
    assert f"The case is compared without {rater}." in printed.err
    for name, table in WRITTEN.items():
        if name != "failures.csv":
            pd.testing.assert_frame_equal(
                read_table(tmp_path / "out" / name, table), read_table(absent.out / name, table)
            )


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize(
    "bad", [{"A": _coarse}, {"A": _coarse, "B": _coarse, "C": _no_image}, {"C": _coarse, "D": _coarse}]
)
def test_where_no_grid_is_that_of_most_raters_the_case_is_left_out(tmp_path, bad):
    raters = few(tmp_path, {name: {"x": 8, "y": 4} for name in ("AB" if len(bad) == 1 else "ABCD")})
    for rater, spoil in bad.items():
        spoil(raters[rater] / "y.nii.gz")
    found = rater_matrix(raters, tmp_path / "out")
    kept = len(bad) == 3  # two of three that can be read agree
    assert found.n_cases == 1 + kept
    (failure,) = found.failures
    assert failure.case == "y"
    assert "expected the grid of" in failure.reason


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize(
    ("masks", "line"),
    [
        ({"A": {"x": 8}, "B": {"x": 8, "y": 4}, "C": {"y": 4}}, "A and C have no case in common"),
        ({"A": {"x": 8}, "B": {"x": 8}, "C": {"y": 4}, "D": {"x": 1, "y": 4}}, "B and C have no case in common"),
        ({"A": {"x": 8}, "B": {"x": 8}}, "Williams' index needs two other raters"),
    ],
)
def test_why_there_is_no_index_is_printed(tmp_path, capsys, masks, line):
    folders = few(tmp_path, masks).values()
    first, *others = ([f"{folder}"] for folder in folders)
    # the option is repeated, and all of it counts
    command = ["--raters", *first, *(word for one in others for word in ("--raters", *one))]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("raters", "more", "message"),
    [
        (["A"], {}, r"raters: expected two at least, found \['A'\]"),
        ({"A": "A", "a": "B"}, {}, "raters: expected different names, models included"),
        ({"majority": "A", "B": "B"}, {}, "expected a name that is none of .*, found 'majority'"),
        ({"A": "A", "B": "B"}, {"models": {"staple": "B"}}, "found 'staple'"),
        ({"A": "A", "B": "B"}, {"models": {"A": "B"}}, "raters: expected different names"),
        (["A", "none"], {}, "none: expected a folder of <case_id>.nii.gz, found none"),
        (["A", "C"], {}, "found no case that two of them have"),
        (["A", "A"], {}, "raters: expected different folders, found A twice"),
        ({"A": "A", "B": "A"}, {}, "A: expected a folder per rater, found it as 'A' and 'B'"),
        ({"A": "A", "B": "D/../A", "C": "B"}, {}, "expected a folder per rater, found it as 'A' and 'B'"),
        ({"A": "A", "B": "B"}, {"models": {"net": "B"}}, "B: expected a folder per rater, found it as 'B' and 'net'"),
        ({"A": "A", "B": "B"}, {"references": "A"}, "expected a folder per rater, found it as 'reference' and 'A'"),
        (["A", "B", "E"], {}, "E: expected masks <case_id>.nii.gz of E, found none. Check the path, or leave E out"),
        ({"A": "A", "B": "B"}, {"models": {"net": "E"}}, "E: expected masks <case_id>.nii.gz of net, found none"),
        (["A", "D/A"], {}, "expected folders of different names, found two called 'A'"),
        ("A", {}, "raters: expected two folders at least"),
        (["A", "B"], {"rules": "dice"}, "rules: expected different names out of"),
        (["A", "B"], {"brain_masks": "none"}, "none: expected a folder of brain masks, found none"),
        (["A", "B"], {"labels": {"x": 1, "y": 1}}, "labels: expected different whole numbers"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_says_what_to_do(tmp_path, monkeypatch, raters, more, message):
    few(tmp_path, {"A": {"x": 8}, "B": {"x": 8}, "C": {"y": 8}, "D/A": {"x": 8}})
    (tmp_path / "E").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=message):
        rater_matrix(raters, "out", **more)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "expected --predictions DIR and --references DIR, --raters DIR DIR ..., or --cohorts"),
        (["--references", "A"], "expected --predictions DIR"),
        (["--raters", "A", "B", "--uncertainty", "A"], "--raters: expected no --uncertainty beside it"),
        (["--raters", "A", "B", "--rater", "net"], "--raters: expected no --rater beside it"),
        (["--raters", "A", "B", "--qc", "3"], "--raters: expected no --qc beside it"),
        (["--raters", "A", "B", "--site-column", "x"], "--raters: expected no --site-column beside it"),
        (["--raters", "R1=A", "B"], "--raters: expected NAME=DIR with different names, found 'B'"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_one_line(tmp_path, monkeypatch, capsys, more, message):
    few(tmp_path, {"A": {"x": 8}, "B": {"x": 8}})
    monkeypatch.chdir(tmp_path)
    assert main([*more, "-o", "out"]) == 2
    assert message in capsys.readouterr().err
