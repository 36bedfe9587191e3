"""Which region of the brain a network's relevance lies in: per scan, and ranked over scans."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.errors import ImageError, TableError
from nnunet_ms.images.itk import resample, to_itk, voxels
from nnunet_ms.images.volumes import Grid, read_volume
from nnunet_ms.statistics.bootstrap_interval import mean_interval
from nnunet_ms.tables import Column, Table, read_table

KEYS = ["method", "parcellation", "region"]
ELSEWHERE = "elsewhere"  # what the network saw in none of the regions
ALL, TRUE_POSITIVES = "all", "true positives"
REGION_COLUMNS = (
    Column("parcellation"),
    Column("region"),
)
RELEVANCE = Table(
    "relevance of regions",
    (
        *(Column(name) for name in ("case_id", "patient_id", "visit", "method", "explained_by")),
        *REGION_COLUMNS,
        Column("voxels", "integer", minimum=1),
        Column("mean_positive", "number", minimum=0),
        Column("share", "number", blank=True, minimum=0, maximum=1),
        Column("density", "number", blank=True, minimum=0),
    ),
    key=("case_id", "method", "parcellation", "region"),
)
RANKED_REGIONS = Table(
    "ranked regions",
    (
        Column("method"),
        Column("scans"),
        *REGION_COLUMNS,
        Column("rank", "integer", blank=True, minimum=1),
        Column("density", "number", blank=True, minimum=0),
        Column("low", "number", blank=True),
        Column("high", "number", blank=True),
        Column("share", "number", blank=True, minimum=0, maximum=1),
        Column("mean_positive", "number", minimum=0),
        Column("density_random", "number", blank=True, minimum=0),
        Column("against_random", "number", blank=True, minimum=0),
        Column("rank_against_random", "integer", blank=True, minimum=1),
        Column("n", "integer", minimum=1),
        Column("patients", "integer", minimum=1),
    ),
    key=("method", "scans", "parcellation", "region"),
)
ATLAS_NAMES = Table("atlas names", (Column("label", "integer", minimum=1), Column("name")), key=("label",))


def region_relevance(
    relevance: SingleFloats, seen: Bools, regions: Mapping[str, Bools], *, elsewhere: bool = True
) -> pd.DataFrame:
    """Positive relevance of each region, and how dense it lies there.

    Parameters
    ----------
    relevance : (X, Y, Z) float array
        Of one scan; what is negative counts as 0.
    seen : (X, Y, Z) bool array
        What the network saw. Of a region only that part counts; one of which nothing was seen has no row.
    regions : mapping of str to (X, Y, Z) bool array
    elsewhere : bool, optional
        Whether what was seen in no region gets a row too.

    Returns
    -------
    pandas.DataFrame
        `region`, `voxels`; `mean_positive` per voxel, so that size does not count; `share` of the positive relevance
        of all that was seen; `density`, that share by the region's share of the voxels: 1 is as much as everywhere.
        Both are NaN where no relevance is positive.

    Examples
    --------
    Half of the voxels have three quarters of the relevance.

    >>> relevance = np.array([3.0, 3.0, 1.0, 1.0, -9.0], np.float32).reshape(5, 1, 1)
    >>> seen = np.array([1, 1, 1, 1, 0], bool).reshape(5, 1, 1)
    >>> stem = np.array([1, 1, 0, 0, 0], bool).reshape(5, 1, 1)
    >>> region_relevance(relevance, seen, {"brainstem": stem}).to_dict("list")["density"]
    [1.5, 0.5]
    """
    positive = np.clip(relevance.astype(np.float64), 0, None)
    total, count = float(positive[seen].sum()), int(seen.sum())
    parts = {name: mask & seen for name, mask in regions.items()}
    if elsewhere:
        parts[ELSEWHERE] = seen & ~np.any([np.zeros_like(seen), *regions.values()], axis=0)
    rows = []
    for name, mask in parts.items():
        own, size = float(positive[mask].sum()), int(mask.sum())
        if size:
            share = own / total if total > 0 else float("nan")
            rows.append((name, size, own / size, share, share * count / size))
    return pd.DataFrame(rows, columns=["region", "voxels", "mean_positive", "share", "density"])


def ranked_regions(
    rows: pd.DataFrame, true_positives: Sequence[str], random: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Regions in the order of their mean density over scans, of all scans and of the true positives.

    Where a method multiplies by the image, a region of strong contrast is dense whatever a network has learnt: of
    random weights, ventricles come first. So the density of random weights stands beside, and a rank by the ratio.

    Parameters
    ----------
    rows : pandas.DataFrame
        `RELEVANCE`.
    true_positives : sequence of str
        `case_id` of disabled patients' scans that the model calls disabled.
    random : pandas.DataFrame, optional
        As `rows`, of networks with random weights, of some of the scans.

    Returns
    -------
    pandas.DataFrame
        `RANKED_REGIONS`. `low` and `high` are the 95 % interval over patients, blank for few. A scan without positive
        relevance counts in `n` of no region. `elsewhere` has no rank.

    Examples
    --------
    >>> one = {"case_id": "a", "patient_id": "a", "method": "ig", "parcellation": "regions", "share": 0.5}
    >>> dense = [("wm", 2.0), ("gm", 0.5), ("elsewhere", 3.0)]
    >>> rows = pd.DataFrame([{**one, "mean_positive": 1.0, "region": r, "density": d} for r, d in dense])
    >>> ranked_regions(rows, [])[["region", "rank", "n"]].to_dict("list")
    {'region': ['wm', 'gm', 'elsewhere'], 'rank': [1, 2, None], 'n': [1, 1, 1]}
    """
    groups = {ALL: rows, TRUE_POSITIVES: rows[rows["case_id"].isin(list(true_positives))]}
    by_image = None if random is None else random.groupby(KEYS)["density"].mean()
    tables = [_ranked(part, scans, by_image) for scans, part in groups.items() if len(part)]
    return pd.concat(tables, ignore_index=True)[RANKED_REGIONS.names]


def _ranked(rows: pd.DataFrame, scans: str, by_image: "pd.Series | None") -> pd.DataFrame:
    defined = rows[rows["density"].notna()]
    summaries = [
        dict(zip(KEYS, names, strict=True)) | _summary(part) for names, part in defined.groupby(KEYS, sort=False)
    ]
    table = pd.DataFrame(summaries, columns=[*KEYS, *_summary(rows.iloc[:0])]).assign(scans=scans)
    places = pd.MultiIndex.from_frame(table[KEYS])
    table["density_random"] = np.nan if by_image is None else by_image.reindex(places).to_numpy(np.float64)
    table["against_random"] = table["density"] / table["density_random"].where(table["density_random"] > 0)
    for rank, by in (("rank", "density"), ("rank_against_random", "against_random")):
        named = table[by].where(table["region"] != ELSEWHERE)
        places_of = named.groupby([table["method"], table["parcellation"]]).rank(ascending=False, method="min")
        table[rank] = places_of.astype("Int64")
    return table.sort_values(["method", "parcellation", "rank"], kind="stable", na_position="last")


def _summary(part: pd.DataFrame) -> dict[str, float | int]:
    density = part["density"].to_numpy(np.float64)
    low, high = mean_interval(density, part["patient_id"].tolist()) if len(part) else (np.nan, np.nan)
    means = {name: float(part[name].mean()) for name in ("density", "share", "mean_positive")}
    return {**means, "low": low, "high": high, "n": len(part), "patients": part["patient_id"].nunique()}


def atlas_regions(atlas: str | Path, names: str | Path | None, target: Grid) -> dict[str, Bools]:
    """Regions of a label map that lies in MNI space, brought to a grid with nearest neighbours.

    Parameters
    ----------
    atlas : path
        NIfTI of whole numbers; 0 is no region.
    names : path or None
        CSV with `label` and `name`; a label without one keeps its number.
    target : Grid
        The networks' input.

    Returns
    -------
    dict of str to (X, Y, Z) bool array
        Those with a voxel on the grid.

    Raises
    ------
    ImageError
        If the atlas is damaged, no label map, or does not lie where the brain is.
    TableError
        If the table is damaged, or gives two labels one name.

    Examples
    --------
    >>> atlas_regions("atlas.nii.gz", None, Grid((4, 4, 4), np.eye(4)))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: atlas.nii.gz: ...
    """
    volume = read_volume(Path(atlas))
    values = np.asarray(volume.data, dtype=np.float64)
    if not np.array_equal(values, np.round(values)) or values.min() < 0:
        raise ImageError(f"{atlas}: expected whole numbers >= 0, labels of regions, found others. Is it a label map?")
    image = to_itk(values.astype(np.int32), volume.grid)
    moved = np.asarray(voxels(resample(image, target, np.eye(4), is_label=True)))
    labels = [int(one) for one in np.unique(moved) if one]
    if not labels:
        raise ImageError(
            f"{atlas}: expected labels in the brain of MNI152, found none there. Is the atlas in MNI space?"
        )
    known = _names(names)
    return {known.get(label, str(label)): moved == label for label in labels}


def _names(path: str | Path | None) -> dict[int, str]:
    if path is None:
        return {}
    table = read_table(Path(path), ATLAS_NAMES)
    twice = table["name"][table["name"].duplicated()]
    if len(twice):
        raise TableError(f"{path}: expected a name for each label, found {twice.iloc[0]} twice. Tell them apart.")
    return {int(label): str(name) for label, name in zip(table["label"], table["name"], strict=True)}
