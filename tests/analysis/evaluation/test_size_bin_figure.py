import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.evaluation.cohort_metrics import SIZE_BINS
from nnunet_ms.analysis.evaluation.rules import RULES
from nnunet_ms.analysis.evaluation.size_bin_figure import size_bin_figure
from nnunet_ms.plotting.style import save_figure

RULE = RULES["krishnan2023"]


def sizes(note="simulated", patients=12):
    labels = {"rater": "net", "lesion_type": "t2_lesions", "rule": RULE.name, "data_note": note, "level": 0.95}
    frame = pd.DataFrame({"size_bin": ["3 to 10", "11 to 50", "51 to 150", "> 150", "all"]})
    frame = frame.assign(**labels, n_cases=20, n_patients=patients).reindex(columns=SIZE_BINS.names)
    frame["reference_lesions"], frame["predicted_lesions"] = [40, 30, 20, 0, 90], [35, 25, 22, 10, 92]
    for metric, values in {"ltpr": [0.5, 0.7, 0.9, np.nan, 0.66], "lfpr": [0.4, 0.2, 0.1, 0.0, 0.23]}.items():
        frame[metric] = values
        wide = 0.1 if patients > 4 else np.nan
        frame[f"{metric}_low"] = np.clip(np.array(values) - wide, 0, 1)
        frame[f"{metric}_high"] = np.clip(np.array(values) + wide, 0, 1)
    return frame


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_title_says_what_the_figure_is():
    title = size_bin_figure(sizes(), RULE).get_suptitle()
    for part in (
        "net against reference",
        "(simulated data)",
        "20 cases",
        "12 patients",
        "krishnan2023",
        "18-connected",
    ):
        assert part in title


def test_without_a_note_there_is_no_bracket():
    assert "data)" not in size_bin_figure(sizes(note=""), RULE).get_suptitle()


def test_points_intervals_and_counts_are_those_of_the_table():
    frame = sizes()
    figure = size_bin_figure(frame, RULE)
    for axes, metric, count in zip(
        figure.axes, ("ltpr", "lfpr"), ("reference_lesions", "predicted_lesions"), strict=True
    ):
        points, _, (bars,) = axes.containers[0].lines
        assert points.get_ydata() == pytest.approx(frame[metric][:4].to_numpy(), nan_ok=True)
        ends = np.array([segment[:, 1] for segment in bars.get_segments() if len(segment)])
        table = frame.loc[frame[metric].notna(), [f"{metric}_low", f"{metric}_high"]].to_numpy()[:-1]
        assert ends[~np.isnan(ends).any(axis=1)] == pytest.approx(table)
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels == [f"{name}\nn = {n}" for name, n in zip(frame["size_bin"][:4], frame[count][:4], strict=True)]
        assert "voxels" in axes.get_xlabel()


def test_missing_intervals_are_explained():
    figure = size_bin_figure(sizes(patients=3), RULE)
    assert "none with fewer than 5 patients" in texts(figure)
    for axes in figure.axes:
        _, caps, (bars,) = axes.containers[0].lines
        assert all(np.isnan(cap.get_ydata()).all() for cap in caps)
        assert all(len(segment) == 0 or np.isnan(segment).any() for segment in bars.get_segments())


def test_the_same_table_gives_the_same_bytes(tmp_path):
    contents = []
    for name in ("first", "second"):
        paths = save_figure(size_bin_figure(sizes(), RULE), tmp_path / name, "figure")
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
