"""Where a run refuses to write. Oracle: what lay there before lies there still."""

import errno
import os
from pathlib import Path

import pytest

from nnunet_ms.commands import run
from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.errors import ConversionError, SettingsError
from nnunet_ms.segmentation.bids_out import check_bids_names
from nnunet_ms.segmentation.scans import find_scans
from nnunet_ms.segmentation.targets import RECORD, check_apart, check_targets


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A patient's folder, a thesis, an earlier result, a link to it, a file."""
    monkeypatch.chdir(tmp_path)
    for name in ("patient07/flair.nii.gz", "home/thesis.doc", f"earlier/{RECORD}", "model/plans.json", "file"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("link").symlink_to("earlier")
    Path("dangling").symlink_to("nowhere")
    Path("empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("out", "bids", "overwrite", "match"),
    [
        ("earlier", None, False, r"^earlier: exists already\. Choose another -o, or --overwrite it"),
        ("new", "home", False, r"^home: exists already\. Choose another --bids-out"),
        ("home", None, True, r"^home: expected an earlier result to --overwrite \(segm.* found other files"),
        ("new", "earlier", True, r"^earlier: expected an earlier result .*dataset_description\.json.*--bids-out"),
        ("link", None, True, "^link: expected a folder to write, found a file or a link"),
        ("dangling", None, True, "^dangling: expected a folder to write, found a file or a link"),
        ("file", None, True, "^file: expected a folder to write, found a file or a link"),
        ("file/a/b", None, False, "^file/a/b: expected a folder above it, found the file file"),
        ("new", "new", False, "apart from"),
        ("new", "new/bids", False, r"--bids-out new/bids: expected a folder apart from -o new"),
        ("new/out", "new", False, r"-o new/out: expected a folder apart from --bids-out new"),
    ],
)
def test_a_place_that_is_taken_is_refused(place, out, bids, overwrite, match):
    targets = {"-o": Path(out)} | ({"--bids-out": Path(bids)} if bids else {})
    before = sorted(place.rglob("*"))
    with pytest.raises(SettingsError, match=match):
        check_targets(targets, overwrite=overwrite)
    assert sorted(place.rglob("*")) == before


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", ["new", "a/b/c", "empty", "earlier"])
def test_a_new_or_an_earlier_result_is_written(name):
    check_targets({"-o": Path(name)}, overwrite=True)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("option", "path", "source"),
    [
        ("-o", "patient07", None),
        ("-o", "patient07", "patient07"),
        ("--bids-out", "patient07", "patient07"),
        ("-o", ".", "patient07"),
        ("-o", "model", None),
        ("-o", "empty/../patient07", None),
        ("-o", "patient07/out", "patient07"),
        ("-o", "out", "."),
    ],
)
def test_a_run_does_not_write_over_what_it_reads_or_where_the_next_one_reads(option, path, source):
    case = Case("P1", "", None, {"flair": Path("patient07/flair.nii.gz")}, None)
    with pytest.raises(SettingsError, match=r"expected a folder apart from .*Choose another"):
        check_apart({option: Path(path)}, [case], source, Path("model"), is_bids=False)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("path", "source", "is_bids"), [("derivatives/net", ".", True), ("patient07/out", None, False)]
)
def test_results_may_lie_beside_images_that_were_named_and_in_a_bids_data_set(path, source, is_bids):
    case = Case("P1", "", None, {"flair": Path("patient07/flair.nii.gz")}, None)
    check_apart({"-o": Path(path)}, [case], source, Path("model"), is_bids=is_bids)


@pytest.mark.parametrize(
    ("names", "rater", "match"),
    [
        (["P-1", "P1"], "net", "scans P-1 and P1 would both be called sub-P1"),
        (["ä", "ö"], "net", "would both be called sub-x"),
        (["p1", "P_1"], "net", "would both be called"),
        (["P1"], "--", "--rater: BIDS expects letters or digits in it, found '--'"),
    ],
)
def test_names_that_bids_cannot_tell_apart_are_refused_before_the_work(names, rater, match):
    cases = [Case(name, "", None, {"flair": Path(f"{name}.nii.gz")}, None) for name in names]
    with pytest.raises(ConversionError, match=match):
        check_bids_names(cases, None, rater)


@pytest.mark.parametrize(
    ("source", "files", "given"),
    [
        ("manifest.csv", {}, "patient"),
        ("manifest.csv", {}, "visit"),
        ("manifest.csv", {}, "prefer"),
        (None, {"flair": "home/thesis.doc"}, "prefer"),
        ("patient07", {}, "prefer"),
    ],
)
def test_an_option_that_has_no_use_for_the_input_is_not_passed_over(source, files, given, place):
    (place / "manifest.csv").write_text("patient_id,visit,week,flair\n")
    with pytest.raises(SettingsError, match=rf"--{given} x: expected beside .* only, found .*Leave it out"):
        find_scans(source, files, ["flair"], **{given: "x"})


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a system without /proc")
@pytest.mark.parametrize("out", ["/proc/x", "/proc/1/x", "/proc/self/deep/er"])
@pytest.mark.parametrize("option", ["-o", "--bids-out"])
def test_a_place_that_takes_no_files_is_refused_before_the_work(out, option):
    with pytest.raises(
        SettingsError, match=rf"expected a place that can be written, found that {Path(out).parent}|proc"
    ):
        check_targets({option: Path(out)}, overwrite=False)


@pytest.mark.parametrize(("number", "kind"), [(errno.EROFS, OSError), (errno.EACCES, PermissionError)])
def test_a_read_only_place_is_one_line(place, monkeypatch, capsys, number, kind):
    def refuse(**_):
        raise OSError(number, os.strerror(number), ".partial-out-x")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    assert run("nnunet-ms-x", lambda: check_targets({"-o": place / "out"}, overwrite=False)) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert ("no permission" if kind is PermissionError else "Choose another place") in told
    assert kind is OSError or f"{place}:" in told
