"""Numbers that papers print, to stand in a column of their own beside ours. Never mixed with computed results.

Source: Krishnan et al., Sci Rep 2023;13:4102, doi:10.1038/s41598-023-31207-5 ("manual" is its human reading).
"""

from dataclasses import dataclass

SOURCE = "Krishnan et al., Sci Rep 2023;13:4102, doi:10.1038/s41598-023-31207-5"


@dataclass(frozen=True)
class PublishedPair:
    """One published quantity for the human reading and for the paper's model, as printed."""

    manual: str
    model: str

    def __str__(self) -> str:
        return f"{self.manual} (manual); {self.model} (model)"


@dataclass(frozen=True)
class PublishedTrial:
    """What the paper prints about one trial.

    `separation`: week -> percentage points between the arms' means, signed here as active minus placebo (the paper
    prints magnitudes). `hazard_ratio`: outcome -> hazard ratio of log TLV. `agreement`: metric -> mean ± SD.
    """

    title: str
    separation: dict[str, PublishedPair]
    ancova_p: PublishedPair | None
    hazard_ratio: dict[str, PublishedPair]
    agreement: dict[str, str]


def _agreement(*values: str) -> dict[str, str]:
    return dict(zip(("ppv", "tpr", "dice", "r_vol", "lppv", "ltpr", "lfpr", "r_count"), values, strict=True))


_HIGHLY = PublishedPair("p < .001", "p < .001")

PUBLISHED = {
    "opera2": PublishedTrial(
        "OPERA II",
        {},
        None,
        {"cdp24": PublishedPair("1.18 (0.995 to 1.40), p .057", "1.19 (0.998 to 1.425), p .053")},
        _agreement(
            ".695 ± .148", ".785 ± .146", ".72 ± .12", ".969", ".884 ± .136", ".837 ± .134", ".178 ± .138", ".958"
        ),
    ),
    "oratorio": PublishedTrial(
        "ORATORIO",
        {
            "24": PublishedPair("−2.6", "−3.2"),
            "48": PublishedPair("−5.5", "−7"),
            "120": PublishedPair("−13.5", "−16.3"),
        },
        _HIGHLY,
        {"9hpt24": PublishedPair("1.22 (1.047 to 1.411), p .010", "1.23 (1.048 to 1.452), p .012")},
        _agreement(
            ".64 ± .161", ".818 ± .128", ".698 ± .124", ".962", ".859 ± .153", ".866 ± .117", ".152 ± .128", ".949"
        ),
    ),
    "olympus": PublishedTrial(
        "OLYMPUS",
        {
            "6": PublishedPair("−0.6", "−1.4"),
            "48": PublishedPair("−4.2", "−5.4"),
            "96": PublishedPair("−9.5", "−8.8"),
            "122": PublishedPair("−11.1", "−10.8"),
        },
        _HIGHLY,
        {},
        _agreement(
            ".676 ± .152", ".672 ± .133", ".66 ± .123", ".975", ".859 ± .143", ".717 ± .142", ".175 ± .128", ".898"
        ),
    ),
}
