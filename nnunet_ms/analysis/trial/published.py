"""Numbers that papers print, to stand in a column of their own beside ours. Never mixed with computed results.

"manual" is a human reading, "model" the paper's model, "trial" the trial's own report on all its patients.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SOURCE = "Krishnan et al., Sci Rep 2023;13:4102, doi:10.1038/s41598-023-31207-5"
JOINT_T1 = (
    "Krishnan et al., Joint MRI T1 Unenhancing and Contrast-enhancing MS Lesion Segmentation with Deep Learning in "
    "OPERA Trials, Radiology 2022"
)
OPERA = "Hauser et al., N Engl J Med 2017;376:221-234, doi:10.1056/NEJMoa1601277"
ORATORIO = "Montalban et al., N Engl J Med 2017;376:209-220, doi:10.1056/NEJMoa1606468"
OLYMPUS = "Hawker et al., Ann Neurol 2009;66:460-471, doi:10.1002/ana.21867"


@dataclass(frozen=True)
class PublishedPair:
    """One published quantity for the human reading and for the paper's model, as printed."""

    manual: str
    model: str

    def __str__(self) -> str:
        return f"{self.manual} (manual); {self.model} (model)"


@dataclass(frozen=True)
class PublishedCounts:
    """Lesions of one visit, or of all: of the active arm, of the reference arm, and the percent reduction."""

    active: PublishedPair
    reference: PublishedPair
    reduction: PublishedPair


@dataclass(frozen=True)
class PublishedTrial:
    """What papers print about one trial.

    `separation`: week -> percentage points between the arms' means, signed here as active minus placebo (the paper
    prints magnitudes). `hazard_ratio`: outcome -> hazard ratio of log TLV. `agreement`: metric -> mean ± SD.
    `trial_source`: the trial's own report, behind `change`, `arm_hazard_ratio` and `lesions_per_scan`.
    """

    title: str
    trial_source: str
    separation: Mapping[str, PublishedPair]
    ancova_p: PublishedPair | None
    hazard_ratio: Mapping[str, PublishedPair]
    agreement: Mapping[str, str]
    baseline: Mapping[str, str]
    mean_active: Mapping[str, str] = field(default_factory=dict)  # week -> percent change, in words
    mean_reference: Mapping[str, str] = field(default_factory=dict)
    change: Mapping[str, str] = field(default_factory=dict)  # week -> the trial's percent change of T2 volume
    multivariable: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # outcome -> term of ours -> text
    count_hazard_ratio: Mapping[str, str] = field(default_factory=dict)  # outcome -> per lesion
    arm_hazard_ratio: Mapping[str, str] = field(default_factory=dict)  # outcome -> active / reference
    counts: Mapping[str, Mapping[str, PublishedCounts]] = field(default_factory=dict)  # endpoint -> visit
    lesions_per_scan: Mapping[str, str] = field(default_factory=dict)  # endpoint -> active vs reference, as printed
    size_share: Mapping[str, str] = field(default_factory=dict)  # voxels -> percent of lesions with at most as many


def _agreement(*values: str) -> dict[str, str]:
    return dict(zip(("ppv", "tpr", "dice", "r_vol", "lppv", "ltpr", "lfpr", "r_count"), values, strict=True))


def _counts(active: tuple[str, str], reference: tuple[str, str], reduction: tuple[str, str]) -> PublishedCounts:
    return PublishedCounts(PublishedPair(*active), PublishedPair(*reference), PublishedPair(*reduction))


_HIGHLY = PublishedPair("p < .001", "p < .001")

# Radiology 2022, test on OPERA II: lesions / patients per visit; new unenhancing lesions / visits
_JOINT_T1_COUNTS = {
    "enhancing_lesions": {
        "24": _counts(("10 / 366", "19 / 365"), ("141 / 355", "128 / 354"), ("93", "86")),
        "48": _counts(("6 / 355", "14 / 355"), ("150 / 317", "121 / 317"), ("96", "90")),
        "96": _counts(("5 / 340", "10 / 340"), ("157 / 294", "144 / 294"), ("97", "94")),
    },
    "new_t1_lesions": {
        "all": _counts(("504 / 1060", "205 / 1053"), ("1438 / 965", "661 / 957"), ("68", "78")),
    },
}

# Sci Rep 2023: hazard ratio (95 % CI), p; one reading where the paper's two agree to the digits shown
_OPERA2_CDP24 = {
    "arm": "1.37 (0.618 to 3.045), p .437 (manual); 1.38 (0.586 to 3.228), p .465 (model); arms as coded there",
    "sex: M": "1.00 (0.618 to 1.625) (manual); 1.00 (0.618 to 1.628) (model)",
    "region: US": "1.63 (1.003 to 2.657), p .048 (manual); 1.63 (1.001 to 2.65), p .049 (model)",
    "edss < 4": "1.29 (0.732 to 2.267) (manual); 1.29 (0.731 to 2.266) (model)",
    "age_years": "1.01 (0.986 to 1.04)",
    "log_tlv": "1.49 (1.153 to 1.926), p .002 (manual); 1.48 (1.139 to 1.924), p .003 (model)",
    "arm:log_tlv": "0.65 (0.459 to 0.927), p .017 (manual); 0.67 (0.466 to 0.966), p .032 (model); arms as coded there",
}
_OPERA_POOLED = {
    "cdp12": "0.60 (0.45 to 0.81) (trial, OPERA I and II pooled)",
    "cdp24": "0.60 (0.43 to 0.84) (trial, OPERA I and II pooled)",
}
_ORATORIO_9HPT24 = {
    "arm": "1.29 (0.627 to 2.678) (manual); 1.12 (0.485 to 2.58) (model); placebo / ocrelizumab",
    "sex: M": "1.54 (1.029 to 2.295), p .036",
    "region: US": "1.36 (0.803 to 2.311)",
    "edss < 4": "0.44 (0.263 to 0.743), p .002",
    "age_years": "0.97 (0.951 to 0.997), p .026",
    "log_tlv": "1.10 (0.914 to 1.327)",
    "arm:log_tlv": "1.18 (0.875 to 1.587) (manual); 1.24 (0.895 to 1.716) (model); placebo / ocrelizumab",
}

PUBLISHED = {
    "opera1": PublishedTrial(  # no agreement on it is printed
        "OPERA I",
        OPERA,
        {},
        None,
        {},
        {},
        {
            "patients": "796",
            "arms": "397 / 399 (active / control)",
            "visits": "2941",
            "age_years": "37.2",
            "t2_volume": "9.84 ± 12.44",
        },
        arm_hazard_ratio=_OPERA_POOLED,
        lesions_per_scan={"enhancing_lesions": "0.02 vs 0.29, active vs control (trial)"},
    ),
    "opera2": PublishedTrial(
        "OPERA II",
        OPERA,
        {},
        None,
        {"cdp24": PublishedPair("1.18 (0.995 to 1.40), p .057", "1.19 (0.998 to 1.425), p .053")},
        _agreement(
            ".695 ± .148", ".785 ± .146", ".72 ± .12", ".969", ".884 ± .136", ".837 ± .134", ".178 ± .138", ".958"
        ),
        {
            "patients": "798",
            "arms": "398 / 400 (active / control)",
            "visits": "2839",
            "age_years": "37.4",
            "t2_volume": "9.96 ± 12.8",
        },
        multivariable={"cdp24": _OPERA2_CDP24},
        arm_hazard_ratio=_OPERA_POOLED,
        counts=_JOINT_T1_COUNTS,
        lesions_per_scan={"enhancing_lesions": "0.02 vs 0.42, active vs control (trial)"},
        size_share={"10": "41", "50": "83"},
    ),
    "oratorio": PublishedTrial(
        "ORATORIO",
        ORATORIO,
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
        {
            "patients": "714",
            "arms": "476 / 238 (active / control)",
            "visits": "2605",
            "age_years": "44.5",
            "t2_volume": "11.79 ± 14.09",
        },
        mean_active={"120": "a decrease below 3 (manual)"},
        mean_reference={"120": "about 11 (manual)"},
        change={"120": "−3.4 % vs +7.4 % (trial)"},
        multivariable={"9hpt24": _ORATORIO_9HPT24},
        count_hazard_ratio={"9hpt24": "1.006 (1.001 to 1.011), p .016"},
        arm_hazard_ratio={"cdp12": "0.76 (0.59 to 0.98) (trial)", "cdp24": "0.75 (0.58 to 0.98) (trial)"},
        size_share={"10": "43", "50": "84"},
    ),
    "olympus": PublishedTrial(
        "OLYMPUS",
        OLYMPUS,
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
        {
            "patients": "416",
            "arms": "276 / 140 (active / control)",
            "visits": "1787",
            "age_years": "50.0",
            "t2_volume": "13.81 ± 15.42",
        },
        arm_hazard_ratio={"cdp12": "progression in 30.2 % vs 38.5 %, p .14 (trial)"},
        size_share={"10": "46", "50": "84"},
    ),
}
# the fourth test set of the paper, which is no trial
MICCAI_2016 = PublishedTrial(
    "MICCAI 2016 (consensus)",
    "",
    {},
    None,
    {},
    _agreement(".736 ± .18", ".562 ± .151", ".623 ± .15", ".975", ".683 ± .195", ".681 ± .177", ".252 ± .174", ".942"),
    {},
    size_share={"10": "23", "50": "78"},
)
