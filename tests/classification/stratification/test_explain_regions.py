"""Relevance per region. Oracles: counting by hand, and a plain loop over voxels."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.classification.stratification.explain_regions import (
    ELSEWHERE,
    RANKED_REGIONS,
    atlas_regions,
    ranked_regions,
    region_relevance,
)
from nnunet_ms.errors import ImageError, TableError
from nnunet_ms.images.volumes import Grid

GRID = Grid((6, 6, 6), np.diag([8.0, 8.0, 8.0, 1.0]))


def test_relevance_of_regions_is_that_of_a_loop_over_voxels():
    rng = np.random.default_rng(2)
    relevance = rng.normal(0, 1, (5, 6, 7)).astype(np.float32)
    seen = rng.random((5, 6, 7)) < 0.8
    label = rng.integers(0, 4, (5, 6, 7))
    found = region_relevance(relevance, seen, {f"r{k}": label == k for k in (1, 2, 3)}).set_index("region")
    sums, counts = dict.fromkeys(range(4), 0.0), dict.fromkeys(range(4), 0)
    for place in np.ndindex(relevance.shape):
        if seen[place]:
            sums[label[place]] += max(float(relevance[place]), 0.0)
            counts[label[place]] += 1
    total, count = sum(sums.values()), sum(counts.values())
    for k in range(4):
        row = found.loc[f"r{k}" if k else ELSEWHERE]
        assert row["voxels"] == counts[k]
        assert row["mean_positive"] == pytest.approx(sums[k] / counts[k])
        assert row["share"] == pytest.approx(sums[k] / total)
        assert row["density"] == pytest.approx((sums[k] / counts[k]) / (total / count))
    assert found["share"].sum() == pytest.approx(1)


def test_a_large_region_does_not_win_by_its_size():
    relevance = np.ones((4, 4, 4), np.float32)
    relevance[0, 0, 0] = 9
    small = np.zeros((4, 4, 4), bool)
    small[0, 0, 0] = True
    found = region_relevance(relevance, np.ones((4, 4, 4), bool), {"small": small, "large": ~small})
    assert found.set_index("region")["density"].to_dict() == pytest.approx({"small": 9 * 64 / 72, "large": 64 / 72})
    assert found["share"].tolist() == pytest.approx([9 / 72, 63 / 72])


def test_regions_that_were_not_seen_have_no_row_and_no_relevance_has_no_density():
    relevance, seen = -np.ones((3, 3, 3), np.float32), np.ones((3, 3, 3), bool)
    seen[0] = False
    hidden = ~seen
    found = region_relevance(relevance, seen, {"hidden": hidden, "shown": seen})
    assert found["region"].tolist() == ["shown"]
    assert found["density"].isna().all()
    assert found["share"].isna().all()
    assert region_relevance(relevance, seen, {}, elsewhere=False).empty


def made_rows():
    density = {"a1": (3.0, 1.0, 0.5), "a2": (1.0, 2.0, 0.5), "b1": (5.0, 1.5, 0.5)}
    return pd.DataFrame(
        [
            {"case_id": case, "patient_id": case[0], "visit": case[1], "method": "ig", "explained_by": "fold 0"}
            | {"parcellation": "regions", "region": region, "voxels": 5, "mean_positive": value / 10}
            | {"share": value / 20, "density": value}
            for case, values in density.items()
            for region, value in zip(("wm", "gm", ELSEWHERE), values, strict=True)
        ]
    )


def test_ranks_are_of_the_mean_density_over_all_and_over_true_positives():
    found = ranked_regions(made_rows(), ["a2"])
    assert list(found.columns) == RANKED_REGIONS.names
    every, positive = (found[found["scans"] == scans].set_index("region") for scans in ("all", "true positives"))
    assert every["density"].to_dict() == pytest.approx({"wm": 3.0, "gm": 1.5, ELSEWHERE: 0.5})
    assert every["rank"].dropna().to_dict() == {"wm": 1, "gm": 2}
    assert every["n"].tolist() == [3, 3, 3]
    assert every["patients"].tolist() == [2, 2, 2]
    assert positive["rank"].dropna().to_dict() == {"gm": 1, "wm": 2}
    assert positive["n"].tolist() == [1, 1, 1]


def test_regions_stand_against_those_of_random_weights():
    random = pd.concat(
        [made_rows().assign(density=[6.0, 1.0, 0.5] * 3), made_rows().assign(density=[6.0, 0.5, 0.5] * 3)]
    )
    found = ranked_regions(made_rows(), [], random).set_index("region")
    assert found["density_random"].to_dict() == pytest.approx({"wm": 6.0, "gm": 0.75, ELSEWHERE: 0.5})
    assert found["against_random"].to_dict() == pytest.approx({"wm": 0.5, "gm": 2.0, ELSEWHERE: 1.0})
    assert found["rank"].dropna().to_dict() == {"wm": 1, "gm": 2}
    assert found["rank_against_random"].dropna().to_dict() == {"gm": 1, "wm": 2}
    without = ranked_regions(made_rows(), [])
    assert without[["density_random", "against_random", "rank_against_random"]].isna().all(axis=None)


def test_scans_without_positive_relevance_count_in_no_region():
    rows = made_rows()
    rows.loc[rows["case_id"] == "b1", ["density", "share"]] = np.nan
    found = ranked_regions(rows, [])
    assert found["n"].tolist() == [2, 2, 2]
    assert set(found["scans"]) == {"all"}


def write_atlas(path, value=7, affine=GRID.affine, dtype=np.int16):
    data = np.zeros(GRID.shape, dtype)
    data[2:4, 2:4, 2:4] = value
    data[5, 5, 5] = 2
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def test_an_atlas_comes_to_the_grid_with_its_names(tmp_path):
    path = write_atlas(tmp_path / "atlas.nii.gz")
    (tmp_path / "names.csv").write_text("label,name\n7,thalamus\n9,nowhere\n", encoding="utf-8")
    found = atlas_regions(path, tmp_path / "names.csv", GRID)
    assert {name: int(mask.sum()) for name, mask in found.items()} == {"2": 1, "thalamus": 8}
    half = Grid((12, 12, 12), np.array([[4, 0, 0, -2], [0, 4, 0, -2], [0, 0, 4, -2], [0, 0, 0, 1.0]]))
    assert int(atlas_regions(path, None, half)["7"].sum()) == 64


@pytest.mark.parametrize(
    ("value", "dtype", "shift", "told"),
    [
        (0.5, np.float32, 0, "expected whole numbers >= 0"),
        (-1, np.int16, 0, "expected whole numbers >= 0"),
        (7, np.int16, 500, "Is the atlas in MNI space"),
    ],
)
def test_images_that_are_no_atlas_are_refused(tmp_path, value, dtype, shift, told):
    affine = GRID.affine.copy()
    affine[0, 3] += shift
    path = write_atlas(tmp_path / "atlas.nii.gz", value, affine, dtype)
    with pytest.raises(ImageError, match=told):
        atlas_regions(path, None, GRID)


def test_two_labels_of_one_name_are_refused(tmp_path):
    path = write_atlas(tmp_path / "atlas.nii.gz")
    (tmp_path / "names.csv").write_text("label,name\n7,thalamus\n2,thalamus\n", encoding="utf-8")
    with pytest.raises(TableError, match="found thalamus twice"):
        atlas_regions(path, tmp_path / "names.csv", GRID)
