"""One predicted mask against its reference, from Python: what `nnunet-ms-evaluate` says of a case, as one object."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from nnunet_ms.analysis.evaluation.case_metrics import METRIC_UNITS, case_metrics
from nnunet_ms.analysis.evaluation.matching import Match, Rule, match_by_rules
from nnunet_ms.analysis.evaluation.patient_rows import predicted_lesions, reference_lesions
from nnunet_ms.analysis.evaluation.rules import RULES, is_rule, rules_by_name
from nnunet_ms.analysis.evaluation.worst_case_pictures import mosaic, slices_of_case
from nnunet_ms.errors import ImageError
from nnunet_ms.images.given import ImageLike, has_geometry, volume_of
from nnunet_ms.images.given_mask import masks_of
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.volumes import Volume
from nnunet_ms.options import chosen, known_keywords
from nnunet_ms.plotting.style import style
from nnunet_ms.tables import REFERENCE

PREDICTION = "prediction"
COUNTS = ("tp", "fp", "fn")


@dataclass(frozen=True, eq=False, repr=False)
class MaskEvaluation:
    """What rules say of a predicted mask; `evaluate_masks` makes it.

    `result["dice"]` is a metric or count of the first rule that has it, `result["dice", "isbi2015"]` that of a rule.

    Attributes
    ----------
    metrics : pandas.DataFrame
        `rule`, `metric`, `value` (NaN where undefined, see `case_metrics`), `unit` (blank: a share of one).
    counts : pandas.DataFrame
        One row per rule: `rule`, `reference_lesions`, `predicted_lesions`, `tp` (predicted lesions that the reference
        confirms), `fp` (the others), `fn` (reference lesions that are not found). One predicted lesion may find several
        reference lesions, so `tp` + `fn` need not be their number.
    lesions : pandas.DataFrame
        One row per lesion under the first rule, columns as in `lesions.csv`: `rater` ("reference" or "prediction"),
        `lesion_id`, `voxels`, `volume_ml`, `x_mm`, `y_mm`, `z_mm`, bounding box `x_first` to `z_last` (voxel indices),
        `found` (by the other), `overlap_voxels`, `lesion_dice`, `distance_mm` (to the other's nearest lesion), `rule`.
    """

    metrics: pd.DataFrame
    counts: pd.DataFrame
    lesions: pd.DataFrame
    _rules: list[Rule] = field(repr=False)
    _match: Match = field(repr=False)
    _masks: tuple[Volume, Volume] = field(repr=False)

    @property
    def reference_lesions(self) -> pd.DataFrame:
        """The rows of `lesions` that are of the reference."""
        return self.lesions[self.lesions["rater"] == REFERENCE].reset_index(drop=True)

    @property
    def predicted_lesions(self) -> pd.DataFrame:
        """The rows of `lesions` that are of the prediction."""
        return self.lesions[self.lesions["rater"] == PREDICTION].reset_index(drop=True)

    def __getitem__(self, key: str | tuple[str, str]) -> float:
        name, rule = (key, None) if isinstance(key, str) else key
        if rule is not None:
            chosen(rule, [one.name for one in self._rules], "rule")
        counts = self.counts.melt("rule", var_name="metric")
        rows = pd.concat([self.metrics[["rule", "metric", "value"]], counts])
        rows = rows if rule is None else rows[rows["rule"] == rule]
        chosen(name, dict.fromkeys(rows["metric"]), "metric")
        return float(rows.loc[rows["metric"] == name, "value"].iloc[0])

    def __str__(self) -> str:
        return "\n".join([*self._summary(), self.metrics.to_string(index=False, float_format="{:.4g}".format)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self._summary())
        return f"<p>{lines}</p>" + self.metrics.to_html(index=False, float_format="{:.4g}".format, border=0)

    def _summary(self) -> list[str]:
        return [
            f"{row.reference_lesions} reference lesions, {row.fn} missed; "
            f"{row.predicted_lesions} predicted, {row.fp} false; rule {rule.name}: {rule.description}"
            for rule, row in zip(self._rules, self.counts.itertuples(), strict=True)
        ]

    def plot(self, image: ImageLike | None = None, title: str = "") -> Figure:
        """Draw the slices in which most is wrong: reference red, prediction blue, both purple, errors circled.

        Parameters
        ----------
        image : path, nibabel image, SimpleITK image or (X, Y, Z) array, optional
            What to draw on; an array lies on the masks' grid. Dark grey without it.
        title : str, optional
            Above the numbers of the first rule.

        Returns
        -------
        matplotlib.figure.Figure
            Lesions that the first rule calls missed in a yellow circle, false ones in a dashed cyan one.

        Raises
        ------
        ImageError
            If the image lies on another grid.
        """
        reference, prediction = self._masks
        below = None
        if image is not None:
            affine = None if has_geometry(image) else reference.grid.affine
            below = onto_grid(volume_of(image, "image", affine=affine), reference)
        numbers, rule = self._summary()[0].split("; rule ")
        text = "\n".join(filter(None, (title, numbers, f"rule {rule}")))
        with style():
            return mosaic(slices_of_case(self._match, reference, prediction, below), text)


@known_keywords
def evaluate_masks(
    reference: ImageLike,
    prediction: ImageLike,
    *,
    spacing: Sequence[float] | None = None,
    affine: npt.ArrayLike | None = None,
    rule: str | Sequence[str] = "krishnan2023",
    label: int | None = None,
    brain: ImageLike | None = None,
) -> MaskEvaluation:
    """Compare a predicted mask with its reference, voxel by voxel and lesion by lesion, under named rules.

    The numbers are those that `nnunet-ms-evaluate` writes for the same two masks in files.

    Parameters
    ----------
    reference, prediction : path, nibabel image, SimpleITK image or (X, Y, Z) array
        NIfTI files by `str` or `Path`, images, or arrays of truth values or whole numbers; mixed as you like. An array
        beside a file or image lies on its grid. A mask whose axes are stored in another order or direction is turned
        onto the reference's grid, never resampled.
    spacing : (3,) sequence of float, optional
        Voxel edges of two arrays in mm, along X, Y and Z.
    affine : (4, 4) array, optional
        Voxel -> world of two arrays in mm, instead of `spacing`.
    rule : str or sequence of str, optional
        One or several of `rules.RULES`, or `shifts2022_min<N>`. The first one's components and size filter make the
        table of lesions.
    label : int, optional
        The number of the voxels that are lesion; without it the masks hold 0 and 1 only.
    brain : path, nibabel image, SimpleITK image or (X, Y, Z) array, optional
        Mask whose voxels the normalised Dice counts; the whole image without it.

    Returns
    -------
    MaskEvaluation
        Empty masks have no lesions, and what is then undefined is NaN (see `case_metrics`).

    Raises
    ------
    ImageError
        If a file cannot be read, a mask holds other numbers, is not 3-D or not finite, or the grids differ.
    SettingsError
        If arrays come without `spacing` or `affine`; as `OptionError` if a rule is unknown.

    Examples
    --------
    Two lesions of 4 voxels that share 3: Dice is 2 * 3 / (4 + 4).

    >>> reference, prediction = np.zeros((2, 8, 8, 8), dtype=bool)
    >>> reference[2:6, 3, 3] = prediction[3:7, 3, 3] = True
    >>> result = evaluate_masks(reference, prediction, spacing=(1, 1, 2))
    >>> result["dice"], result["tp"], result.lesions["volume_ml"].tolist()
    (0.75, 1.0, [0.008, 0.008])
    """
    rules = _rules(rule)
    first, second = masks_of(
        (REFERENCE, reference), (PREDICTION, prediction), affine=affine, spacing=spacing, label=label
    )
    second = onto_grid(second, first)
    matches = match_by_rules(first, second, rules, _brain_voxels(brain, first))
    return MaskEvaluation(
        metrics=_metrics(matches, rules),
        counts=_counts(matches, rules),
        lesions=_lesions(matches[0], rules[0]),
        _rules=rules,
        _match=matches[0],
        _masks=(first, second),
    )


def _rules(rule: str | Sequence[str]) -> list[Rule]:
    names = (rule,) if isinstance(rule, str) else tuple(rule)
    for name in names:
        if not is_rule(name):
            chosen(name, RULES, "rule")
    return rules_by_name(names)


def _brain_voxels(brain: ImageLike | None, reference: Volume) -> int | None:
    if brain is None:
        return None
    affine = None if has_geometry(brain) else reference.grid.affine
    mask = onto_grid(volume_of(brain, "brain", affine=affine), reference)
    voxels = int(np.count_nonzero(mask.data))
    if not voxels:
        raise ImageError(f"{mask.path}: expected a brain mask, found no voxel in it. Make it again.")
    return voxels


def _metrics(matches: Sequence[Match], rules: Sequence[Rule]) -> pd.DataFrame:
    rows = [
        (rule.name, name, value, METRIC_UNITS.get(name, ""))
        for match, rule in zip(matches, rules, strict=True)
        for name, value in case_metrics(match, rule).items()
    ]
    return pd.DataFrame(rows, columns=["rule", "metric", "value", "unit"])


def _counts(matches: Sequence[Match], rules: Sequence[Rule]) -> pd.DataFrame:
    rows = [
        (rule.name, match.reference.count, match.prediction.count, *_found(match))
        for match, rule in zip(matches, rules, strict=True)
    ]
    return pd.DataFrame(rows, columns=["rule", "reference_lesions", "predicted_lesions", *COUNTS])


def _found(match: Match) -> tuple[int, int, int]:
    """Confirmed and false predicted lesions, and missed reference lesions."""
    confirmed = int(np.count_nonzero(match.prediction_found))
    return confirmed, match.prediction.count - confirmed, int(np.count_nonzero(~match.reference_found))


def _lesions(match: Match, rule: Rule) -> pd.DataFrame:
    first, second = reference_lesions(match), predicted_lesions(match)
    raters = np.repeat(np.array([REFERENCE, PREDICTION], dtype=object), [match.reference.count, match.prediction.count])
    columns = {name: np.concatenate([first[name], second[name]]) for name in first}  # typed, also without lesions
    return pd.DataFrame({"rater": raters, **columns, "rule": rule.name})
