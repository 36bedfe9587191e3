"""Blocks of agreement: of masks, of volumes and counts, and of the treatment effects found with them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints import effect_agreement, rater_concordance
from nnunet_ms.analysis.endpoints.statistic_rows import select
from nnunet_ms.analysis.report.effect_names import effect_text
from nnunet_ms.analysis.report.notes import convention_note, level
from nnunet_ms.analysis.report.numbers import Numbers
from nnunet_ms.analysis.report.parts import Block, TextTable
from nnunet_ms.analysis.report.wording import interval, minus, number
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.published import PUBLISHED
from nnunet_ms.tables import REFERENCE

METRICS = {
    "ppv": "PPV",
    "tpr": "TPR",
    "dice": "Dice",
    "r_vol": "r volume",
    "lppv": "LPPV",
    "ltpr": "LTPR",
    "lfpr": "LFPR",
    "r_count": "r count",
}
_COEFFICIENTS = {"pearson_r": "Pearson's r", "lin_ccc": "Lin's CCC", "icc_2_1": "ICC(2,1)"}
_LIMITS = {
    "bias_difference": "bias",
    "lower_limit_difference": "lower limit of agreement",
    "upper_limit_difference": "upper limit of agreement",
    "bias_ratio": "geometric mean ratio",
    "lower_limit_ratio": "lower limit of agreement, ratio",
    "upper_limit_ratio": "upper limit of agreement, ratio",
}


def effect_block(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> Block:
    """Return the block of the same treatment effect from both raters' masks."""
    rows = select(endpoints, endpoint=effect_agreement.ENDPOINT)
    lines, main = [], []
    keys = ["rater", "analysis", "contrast", "visit", "term"]
    for found in rows[keys].drop_duplicates().to_dict("records"):
        numbers = Numbers(rows, **found)
        label = f"{found['rater']}: {effect_text(found, with_contrast=len(trial.settings.compared_arms) > 1)}"
        effects = [number(numbers.get(name), 3) for name in ("effect_reference", "effect_rater")]
        lines.append([label, *effects, numbers.with_limits("difference", 3)])
        if found["analysis"] == "t2_volume_ancova":
            main.append(f"{label}: difference {numbers.with_limits('difference', 2)} percentage points")
    table = TextTable(
        "effect_agreement", "The same effect from both raters' masks",
        ["effect", REFERENCE, "model", f"difference ({level(trial)} CI)"], lines, convention_note(trial),
    )  # fmt: skip
    return Block(
        effect_agreement.ENDPOINT,
        "Agreement of treatment effects",
        "Would the trial have found the same effect with the model's masks as with the reference's?",
        "Patients with both raters' masks.",
        [table],
        main=main,
        figures=[s for s in figures if s in (effect_agreement.ENDPOINT, "effects_by_rater")],
        notes=[
            *Numbers(rows).methods()[:1],
            f"Log ratio of counts: of {_rates(trial)}. Log hazard ratios: per unit of the term named (TLV in ml).",
        ],
    )


def _rates(trial: TrialData) -> str:
    if trial.settings.exposure == "scans":
        return "lesions per scan"
    return "lesions per year since the scan before, of enhancing lesions per scan"


def concordance_block(endpoints: pd.DataFrame, figures: Sequence[str]) -> Block:
    """Return the block of volumes and counts: Bland-Altman, Lin's CCC, as differences and as ratios."""
    rows = select(endpoints, endpoint=rater_concordance.ENDPOINT)
    columns = list(rows[["rater", "analysis"]].drop_duplicates().itertuples(index=False, name=None))
    found = [Numbers(rows, rater=rater, analysis=quantity) for rater, quantity in columns]
    head = [f"{rater}: {rater_concordance.QUANTITIES[quantity]}" for rater, quantity in columns]
    coefficients = [["visits", *(number(n.get("n", term="lin_ccc"), 0) for n in found)]]
    for term, label in _COEFFICIENTS.items():
        coefficients.append([label, *(n.with_limits("estimate", 3, term=term) for n in found)])
        if term != "icc_2_1":
            coefficients.append([f"{label}, interval over patients", *(_patients(n, term) for n in found)])
    limits = [[label, *(n.with_limits("estimate", 2, term=term) for n in found)] for term, label in _LIMITS.items()]
    limits.append(["visits with a 0, no ratio", *(number(n.get("n_left_out", term="bias_ratio"), 0) for n in found)])
    main = [
        f"{name}: CCC {n.with_limits('estimate', 3, term='lin_ccc')}; ratio to {REFERENCE} "
        f"{n.with_limits('estimate', 2, term='bias_ratio')}"
        for name, n in zip(head, found, strict=True)
    ]
    return Block(
        rater_concordance.ENDPOINT,
        "Agreement of volumes and counts",
        "Does the model measure the same volume, and count the same lesions, as the reference?",
        f"{rater_concordance.POPULATION[0].upper()}{rater_concordance.POPULATION[1:]}.",
        [
            TextTable("concordance", "Coefficients of agreement", ["estimate (95 % CI)", *head], coefficients),
            TextTable(
                "bland_altman", f"Bland-Altman: model {minus(' - ').strip()} {REFERENCE}, and model / {REFERENCE}",
                ["estimate (95 % CI)", *head], limits, "Volumes in ml. 95 % of values lie between the limits.",
            ),
        ],
        main=main,
        figures=[s for s in figures if s.startswith("concordance_")],
        notes=Numbers(rows).methods(),
    )  # fmt: skip


def _patients(numbers: Numbers, term: str) -> str:
    low, high = (numbers.get(name, term=term) for name in ("patient_low", "patient_high"))
    return "–" if np.isnan(low) else interval(low, low, high, 3).split(" ", 1)[1].strip("()")


def mask_block(trial: TrialData, endpoints: pd.DataFrame, figures: Sequence[str]) -> Block:
    """Return the block of the agreement of masks, as `nnunet-ms-evaluate` summarised it."""
    frame = select(endpoints, endpoint="agreement")
    rows = []
    for (rater, rule), found in frame.groupby(["rater", "analysis"], sort=False):
        metrics = Numbers(found)
        rows.append([f"{rater}, {rule}", *(_metric(metrics, metric) for metric in METRICS)])
    preset = trial.settings.preset
    if preset and PUBLISHED[preset].agreement:
        rows.append([f"published, {PUBLISHED[preset].title}", *PUBLISHED[preset].agreement.values()])
    table = TextTable("agreement", "Mean ± SD over visits", ["rater, rule", *METRICS.values()], rows)
    cases = select(frame, term="dice", stat_name="n")["stat"]
    notes = [
        "PPV, TPR, Dice: voxels. LPPV, LTPR, LFPR: lesions. r: correlation of volume and of lesion count over visits.",
        "A rule says which lesions count and when one is found; numbers of different rules do not compare.",
    ]
    undefined = select(frame, stat_name="n_undefined")
    notes += [
        f"{row['rater']}, {row['analysis']}: {METRICS[row['term']]} undefined in {row['stat']:.0f} visits."
        for row in undefined[(undefined["stat"] > 0) & undefined["term"].isin(METRICS)].to_dict("records")
    ]
    population = f"Visits with both masks ({cases.max():.0f})." if len(cases) else "Visits with both masks."
    main = [
        f"{rater}, {rule}: Dice {_metric(Numbers(found), 'dice')}, LTPR {_metric(Numbers(found), 'ltpr')}, "
        f"LFPR {_metric(Numbers(found), 'lfpr')}"
        for (rater, rule), found in frame.groupby(["rater", "analysis"], sort=False)
    ]
    question = "How well do the model's masks agree with the reference?"
    shown = [stem for stem in figures if stem == "agreement_by_size"]
    return Block("agreement", "Agreement of masks", question, population, [table], main, figures=shown, notes=notes)


def _metric(metrics: Numbers, metric: str) -> str:
    mean, sd = metrics.get("mean", term=metric), metrics.get("sd", term=metric)
    if np.isnan(mean):
        return "–"
    return number(mean, 3) if np.isnan(sd) else f"{number(mean, 3)} ± {number(sd, 3)}"
