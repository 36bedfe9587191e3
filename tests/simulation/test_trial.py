"""A trial on disk: the same bytes whatever the way, tables that the other rooms can read, and interruptions."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from nnunet_ms import tables
from nnunet_ms.errors import SettingsError
from nnunet_ms.images.volumes import read_mask, read_volume
from nnunet_ms.simulation.images.files import PhantomSettings, write_phantoms
from nnunet_ms.simulation.model.trial_presets import DEMO
from nnunet_ms.simulation.trial import TrialSettings, simulate_patients, visit_table, write_trial

SMALL = replace(DEMO, mri_weeks=(0, 96))
TABLES = TrialSettings(DEMO, patients=12, seed=1, grid="demo", images=False)
IMAGES = TrialSettings(SMALL, patients=2, seed=1, grid="demo", images=True)

OLD = [([0, 0, 0], [0, 0, 0]), ([0, 2, 4], [2, 2, 2]), ([0, 0, 1], [0, 0, 0])]


def digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def imaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imaged") / "trial"
    assert write_trial(IMAGES, folder) == []
    return folder


def test_tables_keep_the_vocabulary(tmp_path):
    write_trial(replace(TABLES, patients=60), tmp_path)
    patients = tables.read_table(tmp_path / "patients.csv", tables.PATIENTS)
    assessments = tables.read_table(tmp_path / "assessments.csv", tables.ASSESSMENTS)
    visits = tables.read_table(tmp_path / "visits.csv", tables.VISITS)
    relapses = tables.read_table(tmp_path / "relapses.csv", tables.RELAPSES)
    assert len(patients) == 60
    assert set(patients.arm) == {"placebo", "active"}
    assert set(assessments.patient_id) == set(visits.patient_id) == set(patients.patient_id)
    assert set(relapses.patient_id) <= set(patients.patient_id)
    assert set(visits.lesion_type) == {"t2_lesions", "t1_enhancing", "t1_unenhancing"}
    assert set(visits.rater) == {"reference", "simulated_reader"}
    first = visits.visit == "week000"
    assert visits.new_lesion_count[first].isna().all()
    assert visits.new_lesion_count[~first].notna().all()
    t2 = visits.lesion_type == "t2_lesions"
    assert visits.enlarging_lesion_count[first | ~t2].isna().all()
    later = visits[~first & t2]
    assert later.enlarging_lesion_count.sum() > 10
    assert (later.new_lesion_count + later.enlarging_lesion_count <= later.lesion_count).all()


def test_nothing_is_recorded_after_discontinuation(tmp_path):
    write_trial(replace(TABLES, patients=60), tmp_path)
    left = tables.read_table(tmp_path / "patients.csv", tables.PATIENTS).set_index("patient_id").discontinued_week
    assert left.notna().any()
    for name, table in (("assessments", tables.ASSESSMENTS), ("visits", tables.VISITS), ("relapses", tables.RELAPSES)):
        frame = tables.read_table(tmp_path / f"{name}.csv", table)
        assert not (frame.week > frame.patient_id.map(left)).any()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_trial(replace(TABLES, seed=seed), tmp_path / name)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    first, other = digests(tmp_path / "a"), digests(tmp_path / "c")
    assert {name for name in first if first[name] == other[name]} == {"trial.toml"}  # settings only


def test_a_patient_does_not_depend_on_the_others():
    few, many = (simulate_patients(replace(TABLES, patients=n)) for n in (3, 9))
    for one, same in zip(few, many[:3], strict=True):
        assert repr(one) == repr(same)


def test_truth_names_every_parameter(tmp_path):
    write_trial(TABLES, tmp_path)
    content = json.loads((tmp_path / "truth.json").read_text())
    assert set(content) == {"simulated", "seed", "preset", "parameters", "truth"}
    assert content["simulated"] is True
    assert set(DEMO.__dataclass_fields__) - {"rims"} <= {*content["parameters"], "name"}  # of rims where there are any
    keys = {"endpoint", "analysis", "arm", "contrast", "visit", "term", "stat_name", "stat", "unit", "how"}
    assert all(set(row) == keys for row in content["truth"])


def test_what_was_drawn_before_there_were_enlarging_lesions_is_as_it_was():
    # Regression test: demo, seed 0, by version 0.1.0; enlarging lesions have streams of their own.
    patients = simulate_patients(replace(TABLES, patients=6, seed=0))
    found = [(p.activity.new_t2[0].tolist(), p.activity.enhancing[0].tolist()) for p in patients[:3]]
    assert found == OLD
    table = visit_table(replace(TABLES, patients=6, seed=0), patients)
    read = table[(table.rater == "simulated_reader") & (table.patient_id == "P002")]
    assert read.new_lesion_count.fillna(-1).tolist() == [-1, 1, 3, -1, 0, 1, -1, 2, 3]


def test_images_have_no_truth_of_what_grows(imaged, tmp_path):
    # Masks grow lesion by lesion, and are measured: no rate was drawn for them.
    write_trial(replace(IMAGES, images=False), tmp_path)
    rows = {f: json.loads((f / "truth.json").read_text())["truth"] for f in (imaged, tmp_path)}
    without, of_tables = ({row["endpoint"] for row in rows[f]} for f in (imaged, tmp_path))
    assert of_tables - without == {"enlarging_t2_lesions", "new_or_enlarging_t2_lesions"}


def test_clinical_tables_do_not_depend_on_images(imaged, tmp_path):
    write_trial(replace(IMAGES, images=False), tmp_path)
    for name in ("patients.csv", "assessments.csv", "relapses.csv"):
        assert (imaged / name).read_bytes() == (tmp_path / name).read_bytes()


def test_manifest_leads_to_readable_images_with_the_volume_of_the_table(imaged, tmp_path):
    write_trial(replace(IMAGES, images=False), tmp_path)
    table = tables.read_table(tmp_path / "visits.csv", tables.VISITS)
    table = table[(table.rater == "reference") & (table.lesion_type == "t2_lesions")]
    volumes = table.set_index(["patient_id", "visit"]).volume_ml
    manifest = tables.read_table(imaged / "manifest.csv", tables.MANIFEST)
    assert len(manifest) == len(volumes)
    for row in manifest.itertuples():
        mask = read_mask(imaged / row.t2_lesions)
        measured = float(mask.data.sum()) * mask.grid.voxel_volume_ml
        assert measured == pytest.approx(volumes[row.patient_id, row.visit], rel=0.03)
        assert read_volume(imaged / row.flair).data.dtype == np.int16


def test_an_interrupted_run_is_finished_with_the_same_bytes(imaged, tmp_path):
    folder = tmp_path / "trial"
    shutil.copytree(imaged, folder)
    shutil.rmtree(folder / "images" / "P002")
    (folder / "images" / "P001" / "week096" / "t1.nii.gz").unlink()
    (folder / "images" / "P001" / "lesions.csv").unlink()
    (folder / "manifest.csv").unlink()
    kept = folder / "images" / "P001" / "week000" / "t1.nii.gz"
    before = kept.stat().st_mtime_ns
    write_trial(IMAGES, folder)
    assert digests(folder) == digests(imaged)
    assert kept.stat().st_mtime_ns == before  # complete visits are not made again


def test_two_workers_give_the_same_bytes(imaged, tmp_path):
    assert write_trial(IMAGES, tmp_path / "trial", workers=2) == []
    assert digests(tmp_path / "trial") == digests(imaged)


def test_other_settings_are_refused(tmp_path):
    write_trial(TABLES, tmp_path)
    with pytest.raises(SettingsError, match="other settings: seed is 1, asked for 2"):
        write_trial(replace(TABLES, seed=2), tmp_path)
    with pytest.raises(SettingsError, match=r"parameters\.patients is 12, asked for 13"):
        write_trial(replace(TABLES, patients=13), tmp_path)


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(SettingsError, match=r"expected an empty folder or a simulation, found \['thesis.docx'\]"):
        write_trial(TABLES, tmp_path)
    with pytest.raises(SettingsError, match="expected a folder, found a file"):
        write_trial(TABLES, tmp_path / "thesis.docx")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_damaged_truth_is_refused(tmp_path):
    (tmp_path / "truth.json").write_text("{")
    with pytest.raises(SettingsError, match="cannot read them"):
        write_trial(TABLES, tmp_path)


def test_phantoms_are_single_scans(tmp_path):
    assert write_phantoms(PhantomSettings(patients=1, seed=4, grid="demo"), tmp_path) == []
    manifest = tables.read_table(tmp_path / "manifest.csv", tables.MANIFEST)
    assert list(manifest.visit) == ["week000"]
    assert read_mask(tmp_path / manifest.t2_lesions[0]).data.any()
    with pytest.raises(SettingsError, match="seed is 4, asked for 5"):
        write_phantoms(PhantomSettings(patients=1, seed=5, grid="demo"), tmp_path)
