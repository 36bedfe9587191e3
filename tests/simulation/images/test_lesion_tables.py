"""Property tests of simulated scans: masks that fit together, and tables that count what the masks hold."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from nnunet_ms import tables
from nnunet_ms.images.volumes import read_mask, read_volume
from nnunet_ms.simulation.images.files import PhantomSettings, phantom_course, write_phantoms
from nnunet_ms.simulation.images.lesion_tables import read_visit
from nnunet_ms.simulation.images.phantom import draw_patient, visit_masks
from nnunet_ms.simulation.model.presets import GRIDS

EIGHTEEN = ndimage.generate_binary_structure(3, 2)
SETTINGS = PhantomSettings(patients=2, seed=6, grid="demo", visits=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantoms") / "out"
    assert write_phantoms(SETTINGS, out) == []
    return out


@pytest.mark.parametrize("seed", range(4))
def test_masks_never_overlap_wrongly(seed):
    # Oracle: the definitions. T1 lesions are T2 lesions, enhancing and unenhancing exclude each other, all in brain.
    settings = PhantomSettings(1, seed, "demo", visits=4)
    patient = draw_patient(GRIDS["demo"], phantom_course(settings, 0), seed, 0)
    for visit in range(4):
        found = visit_masks(patient, visit)
        brain, t2, hole, enhancing = (found.masks[k] > 0 for k in ("brain_mask", *tables.REFERENCE_MASKS))
        assert not (t2 & ~brain).any()
        assert not ((hole | enhancing) & ~t2).any()
        assert not (hole & enhancing).any()
        np.testing.assert_array_equal(found.owner > 0, t2)
        read = read_visit(found, patient, np.full(len(patient.lesions), 0.1), np.random.default_rng(seed))
        assert not (read["t2_lesions"] & ~brain).any()
        assert not (read["t1_unenhancing"] & read["t1_enhancing"]).any()


def grown_lesions(labels, count, old):
    """Oracle: the rule written down plainly, at 16 mm3 per voxel: more than one voxel, and more than 5 % of the old."""
    grown = 0
    for i in range(1, count + 1):
        here = labels == i
        kept, gained = (here & old).sum(), (here & ~old).sum()
        parts, n = ndimage.label(here & ~old, structure=EIGHTEEN)
        largest = max(np.bincount(parts.ravel())[1:], default=0) if n else 0
        swollen = gained > 0.5 * kept  # and more than 12 mm3: any voxel is
        grown += kept > 0 and gained > 1 and gained > 0.05 * kept and (swollen or largest > 0.05 * kept)
    return grown


def test_tables_count_what_the_masks_hold(folder):
    # Oracle: SciPy's components of the masks on disk.
    manifest = tables.read_table(folder / "manifest.csv", tables.MANIFEST)
    visits = tables.read_table(folder / "visits.csv", tables.VISITS)
    lesions = tables.read_table(folder / "lesions.csv", tables.LESIONS)
    reference = visits[visits.rater == "reference"].set_index(["patient_id", "visit", "lesion_type"])
    before = {}
    for row in manifest.to_dict("records"):
        for kind in tables.REFERENCE_MASKS:
            mask = read_mask(folder / row[kind])
            labels, count = ndimage.label(mask.data, structure=EIGHTEEN)
            told = reference.loc[(row["patient_id"], row["visit"], kind)]
            assert told.lesion_count == count
            assert told.volume_ml == pytest.approx(mask.data.sum() * 0.016)
            listed = lesions[
                (lesions.case_id == told.case_id) & (lesions.rater == "reference") & (lesions.lesion_type == kind)
            ]
            assert sorted(listed.voxels) == sorted(np.bincount(labels.ravel())[1:])
            if row["week"] == 0:
                assert pd.isna(told.new_lesion_count)
                assert pd.isna(told.enlarging_lesion_count)
            else:
                old = before[kind]
                assert told.new_lesion_count == sum(not old[labels == i].any() for i in range(1, count + 1))
            if row["week"] and kind == "t2_lesions":
                assert told.enlarging_lesion_count == grown_lesions(labels, count, before[kind])
            before[kind] = mask.data > 0
    assert set(visits.rater) == {"reference", "simulated_reader"}


def test_true_lesions_add_up_and_enhance_once(folder):
    truth = pd.read_csv(folder / "lesion_truth.csv")
    visits = tables.read_table(folder / "visits.csv", tables.VISITS)
    t2 = visits[(visits.rater == "reference") & (visits.lesion_type == "t2_lesions")].set_index("case_id")
    np.testing.assert_allclose(truth.groupby("case_id").volume_ml.sum(), t2.volume_ml.sort_index(), atol=1e-5)
    assert (truth.groupby(["patient_id", "lesion_id"]).enhancing.sum() <= 1).all()
    assert (truth.first_visit * 24 <= truth.week).all()
    assert truth.new[truth.week == 0].sum() == 0
    assert truth.new.any()


def test_lesions_grow_shrink_and_resolve(folder):
    sizes = pd.read_csv(folder / "lesion_truth.csv").pivot_table(
        index=["patient_id", "lesion_id"], columns="week", values="voxels", aggfunc="first"
    )
    change = sizes[48] - sizes[0]
    assert (change > 0).any()
    assert (change < 0).any()
    assert (sizes[0].isna() & sizes[48].notna()).any()


def test_qsm_is_in_ppb_and_its_lesions_are_numbered(folder):
    manifest = tables.read_table(folder / "manifest.csv", tables.MANIFEST)
    path = folder / manifest.qsm[0]
    qsm, ids = read_volume(path), read_volume(path.parent / "t2_lesion_ids.nii.gz")
    assert qsm.data.dtype == np.float32
    assert -150 < qsm.data.min() < -40
    assert 90 < qsm.data.max() < 300
    truth = pd.read_csv(folder / "lesion_truth.csv")
    listed = truth[(truth.patient_id == "P001") & (truth.week == 0)]
    assert set(np.unique(ids.data)) == {0, *listed.lesion_id}
