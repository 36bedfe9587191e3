"""A patient of the cohort: what its susceptibility holds, what QSM keeps of it, and what FLAIR must not know."""

from dataclasses import replace

import numpy as np
import pytest

from nnunet_ms.simulation.images import rim_patient
from nnunet_ms.simulation.images.lesion_shapes import visit_map
from nnunet_ms.simulation.model.rim_presets import RIM_LESIONS
from nnunet_ms.simulation.model.streams import Step, stream

SEED, INDEX = 0, 8  # a patient with rims


@pytest.fixture(scope="module")
def visit():
    return rim_patient.draw_visit(SEED, INDEX)


@pytest.fixture(scope="module")
def drawn():
    anatomy = rim_patient._slab(stream(SEED, Step.RIM_COHORT, INDEX, 0))
    lesions, traits = rim_patient.draw_lesions(anatomy, stream(SEED, Step.RIM_COHORT, INDEX, 1))
    voxels = sum(int((one.level <= 1).sum()) for one in lesions)
    return anatomy, lesions, traits, visit_map(lesions, 0, voxels, anatomy, RIM_LESIONS.sizes.smallest_voxels)


def test_qsm_shows_rims_above_their_core_and_none_in_bright_lesions(visit):
    ids, qsm, rims = (visit.volumes[name] for name in ("lesion_ids", "qsm", "rims"))
    differences = {"rim": [], "bright": []}
    for row in visit.rows:
        mine = ids == row["lesion_id"]
        if row["kind"] == "rim":
            differences["rim"].append(qsm[mine & (rims == 2)].mean() - qsm[mine & (rims == 1)].mean())
        assert (rims[mine] == 2).any() == (row["kind"] == "rim")
    assert len(differences["rim"]) >= 1
    assert np.mean(differences["rim"]) > 20  # of 50 to 100 ppb; voxels and the inversion blur it


def test_uniformly_bright_lesions_are_as_bright_as_was_drawn(drawn):
    anatomy, _, traits, found = drawn
    chi = rim_patient.susceptibility_ppb(anatomy, found, traits, np.random.default_rng(0))
    for i, one in enumerate(traits):
        deep = (found.owner == i) & (found.depth_mm > 1.5)
        if one.kind == "bright" and one.vein == "none" and deep.sum() > 40:
            assert np.median(chi[deep]) == pytest.approx(-30 + one.base_ppb, abs=15)
        if one.kind == "rim":
            assert 50 <= one.rim_ppb <= 100
        else:
            assert one.rim_ppb == 0


def test_flair_does_not_know_the_kind(drawn):
    anatomy, lesions, traits, found = drawn
    other = tuple(replace(one, kind="iso", base_ppb=0.0, rim_ppb=0.0, vein="none") for one in traits)
    first, again = (
        rim_patient._flair(anatomy, lesions, some, found, np.random.default_rng(3)) for some in (traits, other)
    )
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


def test_masks_are_on_one_grid_and_flair_masks_are_larger(visit):
    volumes = visit.volumes
    assert {volume.shape for volume in volumes.values()} == {visit.grid.shape}
    truth = (volumes["lesion_ids"] > 0).sum()
    assert 0.9 < volumes["qsm_lesions"].sum() / truth < 1.1
    assert 1.1 < volumes["flair_lesions"].sum() / truth < 2.5
    assert (volumes["brain_mask"][volumes["lesion_ids"] > 0] == 1).all()
    assert (volumes["qsm"][volumes["brain_mask"] == 0] == 0).all()
    assert abs(volumes["qsm"][volumes["brain_mask"] == 1].mean()) < 0.1


def test_the_label_of_a_lesion_lies_in_it(visit):
    inverse = np.linalg.inv(visit.grid.affine)
    for row in visit.rows:
        index = np.rint(inverse @ [row["x_mm"], row["y_mm"], row["z_mm"], 1])[:3].astype(int)
        assert visit.volumes["lesion_ids"][tuple(index)] == row["lesion_id"]
        assert row["voxels"] == (visit.volumes["lesion_ids"] == row["lesion_id"]).sum()


@pytest.mark.parametrize("cover", [0.6, 0.8, 1.0])
def test_an_open_rim_covers_its_share_of_a_ball(cover):
    from nnunet_ms.images.volumes import Grid

    grid = Grid((41, 41, 41), np.eye(4))
    radius = np.sqrt(sum((axis - 20.0) ** 2 for axis in np.ogrid[:41, :41, :41]))
    here = np.nonzero((radius > 15) & (radius < 18))
    one = rim_patient.Traits("rim", 0, 70, 1, cover, (0.0, 1.0, 0.0), 0, "none")
    assert rim_patient._open(here, one, grid).mean() == pytest.approx(cover, abs=0.04)


def test_share_of_rims_and_of_kinds(drawn):
    # Zhang et al., NeuroImage Clin 2022: 177 of 4163 lesions. Lesions alone are drawn, of one brain.
    anatomy = drawn[0]
    kinds = [one.kind for i in range(25) for one in rim_patient.draw_lesions(anatomy, np.random.default_rng(i))[1]]
    assert np.mean([kind == "rim" for kind in kinds]) == pytest.approx(177 / 4163, abs=0.02)
    others = [kind for kind in kinds if kind != "rim"]
    assert np.mean([kind == "bright" for kind in others]) == pytest.approx(0.5, abs=0.05)
