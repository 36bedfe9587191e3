"""Cases that lack sequences: zeros on their grid, told of in every output; oracle: the files themselves."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.normalization.default_normalization_schemes import ZScoreNormalization

from nnunet_ms.cases_table import read_cases
from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import check, convert
from nnunet_ms.errors import ConversionError
from nnunet_ms.trainers.normalization import BrainPercentileNormalization
from tests.dataset_conversion.conftest import SHAPE, edit, save

CHANNELS = ("flair", "t2", "t1")


def image(seed):
    return np.random.default_rng(seed).integers(1, 900, SHAPE).astype(np.int16)


def write(root, names, patients=("P1", "P2")):
    """Files of each name per patient, `{patient}/name.nii.gz`, and a mask; P1 has all, the others lack `names`."""
    for number, patient in enumerate(patients):
        for seed, (name, is_left_out) in enumerate(names.items()):
            if not (number and is_left_out):
                save(root / patient / f"{name}.nii.gz", image(10 * int(patient[1:]) + seed))
        mask = np.zeros(SHAPE, np.uint8)
        mask[3 + number, 4, 2] = 1
        save(root / patient / "lesion.nii.gz", mask)
    return root


def of_ms3seg(root):
    return "ms3seg", write(root, {"FLAIR": False, "T2w": True, "T1w": False}), {}, {"P2": ["t2"]}


def of_folder(root):
    words = {"flair": "{patient}/FLAIR.nii.gz", "t1": "{patient}/T1.nii.gz", "t2_lesions": "{patient}/lesion.nii.gz"}
    folder = write(root, {"FLAIR": False, "T1": True})  # no pattern for T2, which no case has
    return "folder", folder, {"patterns": words}, {"P1": ["t2"], "P2": ["t2", "t1"]}


def of_trial(root):
    names = {"flair": True, "t2": False, "t1": True}  # T2 alone, which gives the grid
    folder = write(root, names)
    rows = [
        {"patient_id": "P1", **{name: f"P1/{name}.nii.gz" for name in names}},
        {"patient_id": "P2", "t2": "P2/t2.nii.gz"},
    ]
    frame = pd.DataFrame(rows).assign(visit="base", week=0)
    frame["t2_lesions"] = frame["patient_id"] + "/lesion.nii.gz"
    frame.to_csv(folder / "manifest.csv", index=False)
    return "trial", folder / "manifest.csv", {}, {"P2_base": ["flair", "t1"]}


def of_trial_without_column(root):
    _, manifest, words, _ = of_trial(root)
    edit(manifest, lambda frame: frame.pop("t1"))
    return "trial", manifest, words, {"P1_base": ["t1"], "P2_base": ["flair", "t1"]}


def of_wmh2017(root):  # the set has no T2
    for number, patient in enumerate(("1", "2")):
        for seed, name in enumerate(("pre/FLAIR", "pre/T1")):
            save(root / "Utrecht" / patient / f"{name}.nii.gz", image(500 + 10 * number + seed))
        mask = np.zeros(SHAPE, np.uint8)
        mask[3, 4, 2] = 1
        save(root / "Utrecht" / patient / "wmh.nii.gz", mask)
    return "wmh2017", root, {}, {"Utrecht-1": ["t2"], "Utrecht-2": ["t2"]}


def of_bids(root):
    for number, subject in enumerate(("sub-01", "sub-02")):
        for seed, name in enumerate(("FLAIR", "T2w", "T1w")[: 3 - number]):
            save(root / subject / "anat" / f"{subject}_{name}.nii.gz", image(10 * number + seed))
        mask = np.zeros(SHAPE, np.uint8)
        mask[3, 4, 2] = 1
        save(root / "derivatives/manual" / subject / "anat" / f"{subject}_label-lesion_mask.nii.gz", mask)
    return "bids", root, {}, {"02": ["t1"]}


KINDS = [of_ms3seg, of_folder, of_trial, of_trial_without_column, of_wmh2017, of_bids]


@pytest.mark.parametrize("make", KINDS)
def test_a_sequence_that_a_case_lacks_is_a_channel_of_zeros(make, tmp_path, raw):
    kind, source, words, absent = make(tmp_path / "source")
    done = convert(source, kind, dataset_id=5, raw=raw, channels=CHANNELS, may_lack="flair,t2,t1", **words)
    assert not done.failures
    for case, names in absent.items():
        assert f"{case}: no {', '.join(names)}: a channel of zeros (--may-lack)" in done.notes
    table = read_cases(done.folder).set_index("case_id")
    assert {case: row.split() for case, row in table["absent"].dropna().items()} == absent
    assert json.loads((done.folder / "dataset.json").read_text())["absent"] == absent
    for case in done.cases:
        images = [nib.load(done.folder / "imagesTr" / f"{case}_{number:04d}.nii.gz") for number in range(3)]
        assert len({one.shape for one in images}) == 1
        for name, one in zip(CHANNELS, images, strict=True):
            np.testing.assert_allclose(one.affine, images[0].affine)
            assert one.get_fdata().any() != (name in absent.get(case, []))
            sources = table.get(f"source_{name}")
            assert sources is None or sources.isna()[case] == (name in absent.get(case, []))


def test_a_channel_that_no_case_has_is_told_of(tmp_path, raw):
    kind, source, _, _ = of_wmh2017(tmp_path / "source")
    done = convert(source, kind, dataset_id=5, raw=raw, channels=CHANNELS, may_lack=["t2"], dry_run=True)
    assert "t2: no case has it: a channel of zeros in all of them (--may-lack)" in done.notes
    assert not raw.exists()


def test_steps_leave_absent_channels_at_zero_on_the_new_grid(tmp_path, raw):
    kind, source, words, _ = of_trial(tmp_path / "source")
    how = {"channels": CHANNELS, "may_lack": "flair,t1", "steps": {"spacing": (2.0, 2.0, 2.0)}}
    done = convert(source, kind, dataset_id=5, raw=raw, **how, **words)
    t2, flair = (nib.load(done.folder / "imagesTr" / f"P2_base_000{number}.nii.gz") for number in (1, 0))
    assert t2.shape == flair.shape
    assert t2.shape[2] > SHAPE[2]
    np.testing.assert_allclose(t2.affine, flair.affine)
    assert not flair.get_fdata().any()
    assert t2.get_fdata().any()


def test_sources_are_joined_and_a_dataset_is_added_to(tmp_path, raw):
    kind, source, _, _ = of_ms3seg(tmp_path / "first")
    more, other, _, _ = of_wmh2017(tmp_path / "other")
    done = convert(source, kind, dataset_id=5, raw=raw, channels=CHANNELS, may_lack="t2", also=[(more, other)])
    assert json.loads((done.folder / "dataset.json").read_text())["absent"].keys() == {"P2", "Utrecht-1", "Utrecht-2"}
    write(tmp_path / "third", {"FLAIR": False, "T2w": True, "T1w": True}, patients=("P8", "P9"))
    again = convert(tmp_path / "third", kind, add_to=done.folder, may_lack="t2,t1")
    content = json.loads((again.folder / "dataset.json").read_text())
    assert content["absent"] == {"P2": ["t2"], "P9": ["t2", "t1"], "Utrecht-1": ["t2"], "Utrecht-2": ["t2"]}
    assert read_cases(again.folder).set_index("case_id")["absent"]["P2"] == "t2"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"may_lack": "flare"}, r"--may-lack flare: expected different names among \['flair', 't1', 't2'\]"),
        ({"may_lack": "t2,t2"}, "expected different names"),
        ({"may_lack": "t1post"}, "expected different names"),
        ({"may_lack": "t2", "pairs": "consecutive"}, "--may-lack and --pairs: expected one of them"),
        ({"channels": "flair,t2,t1,flare", "may_lack": "flare"}, "--channels .*found .'flare'"),
    ],
)
def test_other_words_are_refused(words, match, tmp_path, raw):
    kind, source, _, _ = of_ms3seg(tmp_path / "source")
    with pytest.raises(ConversionError, match=match):
        convert(source, kind, dataset_id=5, raw=raw, **{"channels": CHANNELS, **words})


def test_pairs_of_a_source_lack_nothing(tmp_path, raw):
    (tmp_path / "source").mkdir()
    with pytest.raises(ConversionError, match="expected cases of one visit, found msseg2_2021"):
        convert(tmp_path / "source", "msseg2_2021", dataset_id=5, raw=raw, may_lack="flair_baseline")


@pytest.mark.parametrize("kind", ["trial", "ms3seg"])
def test_what_the_lesions_need_must_be_there_and_the_way_out_is_named(kind, tmp_path, raw):
    write(tmp_path / "a", {"FLAIR": True, "T2w": True, "T1w": False})
    source = tmp_path / "a"
    if kind == "trial":
        source = tmp_path / "a" / "manifest.csv"
        rows = [{"patient_id": "P1", "flair": "P1/FLAIR.nii.gz", "t2": "P1/T2w.nii.gz"}, {"patient_id": "P2"}]
        frame = pd.DataFrame(rows).assign(visit="base", week=0)
        frame["t1"], frame["t2_lesions"] = (frame["patient_id"] + f"/{name}.nii.gz" for name in ("T1w", "lesion"))
        frame.to_csv(source, index=False)
    done = convert(source, kind, dataset_id=5, raw=raw, channels=CHANNELS, may_lack=CHANNELS, dry_run=True)
    (failure,) = done.failures
    assert "expected one of ['flair', 't2'], which t2_lesions need, found ['t1']. Get one of them." in failure.reason
    (failure,) = convert(source, kind, dataset_id=5, raw=raw, channels=CHANNELS, dry_run=True).failures
    assert "--may-lack" not in failure.reason  # it would not help
    found = check(source, kind, channels=["t1", "flair"], may_lack="flair")
    assert not found.failed or "flair" in found.problems[0].problem


def test_a_case_that_lacks_one_is_told_the_option(tmp_path, raw, capsys):
    kind, source, _, _ = of_ms3seg(tmp_path / "source")
    arguments = [kind, str(source), "--dataset-id", "5", "--raw", str(raw), "--channels", "flair,t2,t1"]
    assert main(arguments) == 1
    assert (
        "found no ['t2']. Get it, or choose other --channels. Or let cases lack it (--may-lack t2)"
        in capsys.readouterr().err
    )
    assert main([*arguments, "--may-lack", "t2", "--overwrite"]) == 0
    assert main(["check", kind, str(source), "--channels", "flair,t2,t1", "--may-lack", "t2"]) == 0
    assert "P2: no t2: becomes a channel of zeros" in capsys.readouterr().out


@pytest.mark.parametrize("scheme", [BrainPercentileNormalization, ZScoreNormalization])
@pytest.mark.parametrize("masked", [True, False])
def test_normalisation_and_cropping_see_present_voxels_only(scheme, masked):
    # Oracle: nnU-Net on the same scan without the absent channel.
    scan = np.zeros((2, 12, 14, 10), np.float32)
    scan[:, 3:9, 2:11, 1:8] = np.random.default_rng(0).normal(300, 40, (2, 6, 9, 7))
    whole = np.insert(scan, 1, 0, axis=0)
    (less, seg, box), (more, seg_too, box_too) = crop_to_nonzero(scan), crop_to_nonzero(whole)
    assert box == box_too
    np.testing.assert_array_equal(seg, seg_too)
    run = scheme(use_mask_for_norm=masked, intensityproperties={}).run
    normalised = [run(channel.copy(), seg[0]) for channel in more]
    assert not normalised[1].any()
    for mine, plain in zip((normalised[0], normalised[2]), less, strict=True):
        np.testing.assert_array_equal(mine, run(plain.copy(), seg[0]))
    intensities, _ = DatasetFingerprintExtractor.collect_foreground_intensities(np.ones_like(seg), more, num_samples=9)
    assert intensities[0].any()
    assert not intensities[1].any()
