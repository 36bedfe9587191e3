"""Does agreement hold everywhere in the brain? Detection and lesion Dice by location class, under the first rule.

A lesion's class is what `lesions.csv` says of it: `location` by distance to supplied region masks, `brain_region` by a
supplied map of labels (`lesions.features`). Reference lesions are counted in the class of their own place, predicted
ones in theirs. Shares are pooled over cases, with intervals that take patients as clusters.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.analysis.evaluation.cohort_metrics import ALL_SIZES, size_row
from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.tables import REFERENCE, Column, Table

# column of lesions.csv -> what the class is made of
SCHEMES = {"location": "distance to region masks", "brain_region": "map of labels"}
CLASSES = ("periventricular", "juxtacortical", "infratentorial", "deep_white_matter")
NO_REGION = "no named region"
ALL_PLACES = ALL_SIZES
BY_LOCATION = Table(
    "agreement by location",
    (
        *(Column(name) for name in ("rater", "lesion_type", "rule", "scheme", "location")),
        *(Column(name, "integer", minimum=0) for name in ("n_cases", "n_patients", "reference_lesions")),
        Column("reference_share", "number", blank=True, minimum=0),
        Column("found_lesions", "integer", minimum=0),
        *(Column(name, "number", blank=True, minimum=0) for name in ("ltpr", "ltpr_low", "ltpr_high")),
        Column("predicted_lesions", "integer", minimum=0),
        Column("predicted_share", "number", blank=True, minimum=0),
        Column("false_lesions", "integer", minimum=0),
        *(Column(name, "number", blank=True, minimum=0) for name in ("lfpr", "lfpr_low", "lfpr_high")),
        *(Column(name, "number", blank=True, minimum=0) for name in ("lesion_dice", "lesion_dice_found")),
        Column("level", "number", minimum=0),
        Column("data_note", blank=True),
    ),
    key=("rater", "lesion_type", "rule", "scheme", "location"),
)


def count_places(places: npt.NDArray[np.object_], found: Bools, dice: Floats) -> dict[str, npt.NDArray[np.generic]]:
    """Count some lesions of one rater by class, so that no lesion need be kept for `agreement_by_location`.

    Parameters
    ----------
    places : (L,) array of str
        Class of each lesion; blank for none.
    found : (L,) bool array
        Whether it is found.
    dice : (L,) float array
        Its lesion Dice.

    Returns
    -------
    dict
        One entry per class that occurs: `location`, `lesions`, `found`, and the sums `lesion_dice` and
        `lesion_dice_found`.
    """
    names, which = np.unique(np.where(places == "", NO_REGION, places).astype(str), return_inverse=True)
    count = names.size
    return {
        "location": names.astype(object),
        "lesions": np.bincount(which, minlength=count),
        "found": np.bincount(which, found, minlength=count).astype(np.int64),
        "lesion_dice": np.bincount(which, dice, minlength=count),
        "lesion_dice_found": np.bincount(which, dice * found, minlength=count),
    }


def agreement_by_location(counts: pd.DataFrame, regions: Mapping[str, int]) -> pd.DataFrame:
    """Summarise detection by class, pooled over cases, with intervals that respect the clustering in patients.

    Parameters
    ----------
    counts : pandas.DataFrame
        `patient_id`, `rater` and the columns of `count_places` of one scheme; any number of rows per patient.
    regions : mapping
        Class -> its place in the table; classes that are not in it follow by name.

    Returns
    -------
    pandas.DataFrame
        `BY_LOCATION` from `location` to `level` without `n_cases` and `n_patients`: one row per class that occurs, and
        a last one for all.
    """
    is_reference = counts["rater"] == REFERENCE
    reference, predicted = counts[is_reference], counts[~is_reference]
    totals = int(reference["lesions"].sum()), int(predicted["lesions"].sum())
    names = sorted(counts["location"].unique(), key=lambda name: (regions.get(name, len(regions)), name))
    rows = [
        size_row(reference[reference["location"] == name], predicted[predicted["location"] == name], *totals)
        | {"location": name}
        for name in names
    ]
    return pd.DataFrame([*rows, size_row(reference, predicted, *totals) | {"location": ALL_PLACES}])
