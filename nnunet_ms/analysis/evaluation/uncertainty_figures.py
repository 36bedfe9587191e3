"""Figures of uncertainty: reliability diagram, retention curves."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from nnunet_ms.analysis.evaluation.uncertainty_tables import CANDIDATE, KINDS, UncertaintyEvaluation
from nnunet_ms.plotting.style import COLOURS, LINES, MARKERS, footnote, headline, style

_NAMES = {KINDS[0]: "mean of samples", KINDS[1]: "without dropout"}


def reliability_figure(evaluation: UncertaintyEvaluation, note: str = "") -> Figure:
    """Draw lesion share against mean probability per bin of candidate voxels; below, how many voxels a bin has."""
    rows = evaluation.calibration[evaluation.calibration["region"] == "candidates"]
    with style():
        figure = Figure(figsize=(5.6, 6.2))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="perfect calibration")
        for series, (kind, part) in enumerate(rows.groupby("kind", sort=False)):
            label = f"{_NAMES[str(kind)]}, ECE {_value(evaluation, 'ece', str(kind), 'candidates'):.3f}"
            line = {"color": COLOURS[series], "linestyle": LINES[series], "marker": MARKERS[series], "markersize": 4}
            upper.plot(part["mean_probability"], part["lesion_share"], label=label, **line)
            lower.plot(part["mean_probability"], part["voxels"].clip(lower=1), **line)
        upper.set(ylabel="share of reference lesion", ylim=(-0.02, 1.02), xlim=(0, 1))
        upper.legend(loc="upper left")
        lower.set(xlabel="mean probability in the bin", ylabel="voxels", yscale="log")
        if rows["mean_probability"].isna().all():  # no candidate at all, and nothing to scale the counts by
            lower.set_ylim(1, 10)
        lower.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))  # powers would need formulae, see the style
        headline(figure, _title("Calibration", evaluation, note))
        footnote(figure, f"Voxels with a mean probability of at least {CANDIDATE:g}.")
    return figure


def retention_figure(evaluation: UncertaintyEvaluation, note: str = "") -> Figure:
    """Draw what a reader of the most uncertain voxels or lesions gains, and what removing such lesions does."""
    with style():
        figure = Figure(figsize=(11.4, 4.4))
        voxels, lesions, removal = figure.subplots(1, 3)
        _orders(voxels, evaluation, "ndsc", "voxels", "nDSC (r = 0.001), mean of cases")
        _orders(lesions, evaluation, "f1", "predicted lesions", "lesion F1")
        for series, (curve, name) in enumerate((("lppv", "LPPV"), ("ltpr", "LTPR"))):
            _line(removal, evaluation, curve, "uncertainty", name, series)
        removal.set(title="Lesions removed", xlabel="share of predicted lesions kept", ylabel="LPPV, LTPR")
        removal.legend(loc="lower left")
        headline(figure, _title("Uncertainty", evaluation, note))
        footnote(
            figure,
            "Left: the least certain voxels are replaced by the reference. Middle: a reader strikes out "
            "false lesions among the least certain.\nRight: the least certain lesions are removed, right or wrong. "
            "R-AAC: area above the curve.",
        )
    return figure


def _orders(axes: Axes, evaluation: UncertaintyEvaluation, curve: str, what: str, ylabel: str) -> None:
    for series, order in enumerate(("uncertainty", "ideal", "random")):
        area = _value(evaluation, f"{curve}_raac_{order}")
        _line(axes, evaluation, curve, order, f"{order}, R-AAC {area:.3f}", series)
    axes.set(title=f"{what.capitalize()} kept by the model", xlabel=f"share of {what} kept", ylabel=ylabel)
    axes.legend(loc="lower left")


def _line(axes: Axes, evaluation: UncertaintyEvaluation, curve: str, order: str, label: str, series: int) -> None:
    table = evaluation.retention
    rows = table[(table["curve"] == curve) & (table["order"] == order)]
    axes.plot(rows["kept_share"], rows["value"], color=COLOURS[series], linestyle=LINES[series], label=label)
    axes.set(xlim=(0, 1))


def _value(evaluation: UncertaintyEvaluation, metric: str, kind: str = KINDS[0], region: str = "all") -> float:
    table = evaluation.uncertainty
    rows = table[(table["metric"] == metric) & (table["kind"] == kind) & (table["region"] == region)]
    return float(rows["value"].iloc[0])


def _title(what: str, evaluation: UncertaintyEvaluation, note: str) -> str:
    one = evaluation.uncertainty.iloc[0]
    data = f" ({note} data)" if note else ""
    return (
        f"{what} of {one['rater']}, {one['lesion_type']}{data}\n{evaluation.n_cases} cases, "
        f"{len(evaluation.lesions)} predicted lesions, rule {one['rule']}"
    )
