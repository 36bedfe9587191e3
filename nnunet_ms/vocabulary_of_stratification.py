"""What the columns of disability from the brain mean: a part of the vocabulary."""

from nnunet_ms.meaning import ONE, TEXT, Meaning, meanings

_PREDICTED = ("disability cross-validation", "disability predictions", "disability baselines")
_COUNTED = ("disability results", "disability calibration", "disability decision curve")
_EVALUATED = ("disability results", "disability comparisons")


def _of(table: str, unit: str, **words: str) -> dict[str, Meaning]:
    return {f"{table}.{name}": Meaning(unit, text) for name, text in words.items()}


_MAPS = ("explained scans", "relevance of regions", "ranked regions", "randomisation")
_RELEVANT = ("relevance of regions", "ranked regions")
_EXPLAINED = {
    **{f"{table}.method": Meaning(TEXT, "`gradcam`, `ig` (integrated gradients) or `lrp`") for table in _MAPS},
    **{f"{table}.parcellation": Meaning(TEXT, "`regions` of the scan, or `atlas`") for table in _RELEVANT},
    **{f"{table}.region": Meaning(TEXT, "Region, or `elsewhere`: seen, and in no region") for table in _RELEVANT},
    **{
        f"{table}.mean_positive": Meaning("logits", "Positive relevance per voxel of the region that the network saw")
        for table in _RELEVANT
    },
    **{
        f"{table}.share": Meaning(ONE, "Share of the positive relevance of all that the network saw")
        for table in _RELEVANT
    },
    **{
        f"{table}.density": Meaning(ONE, "That share by the region's share of the voxels: 1 is as much as everywhere")
        for table in _RELEVANT
    },
    "relevance of regions.voxels": Meaning(ONE, "Voxels of the region that the network saw"),
    "ranked regions.scans": Meaning(TEXT, "`all`, or `true positives`: disabled, and called so"),
    "ranked regions.rank": Meaning(ONE, "By the mean density, the highest first; none of `elsewhere`"),
    "ranked regions.low": Meaning(
        ONE, "Lower limit of the mean density, 95 %, over patients; blank below five patients"
    ),
    "ranked regions.high": Meaning(ONE, "Upper limit"),
    "density_random": Meaning(ONE, "Mean density of the region in maps of random weights: what the image does alone"),
    "against_random": Meaning(ONE, "Mean density by that of random weights"),
    "rank_against_random": Meaning(ONE, "By that ratio, the highest first"),
    "ranked regions.n": Meaning(ONE, "Scans with a density of this region"),
    "ranked regions.patients": Meaning(ONE, "Their patients"),
    "explained_by": Meaning(TEXT, "The fold that has not seen the patient, or the mean of all folds"),
    "explained scans.truth": Meaning(ONE, "1 EDSS >= 3.0 after the scan, 0 below"),
    "explained scans.probability": Meaning(ONE, "Of EDSS >= 3.0, by the models that explain"),
    "explained scans.threshold": Meaning(ONE, "Probability from which they call it disabled"),
    "logit": Meaning("logits", "Of the scan, by the models that explain"),
    "expected_sum": Meaning("logits", "What relevances sum to by theory, see stratification.md; blank of Grad-CAM"),
    "relevance_sum": Meaning("logits", "What they sum to"),
    "compared": Meaning(TEXT, "Maps of `learnt and random` weights, or of two random networks, `random and random`"),
    "layers_randomised": Meaning(ONE, "Layers with fresh weights, from the output on"),
    "layers": Meaning(ONE, "Layers that have weights"),
    "spearman": Meaning(
        ONE, "Rank correlation of the two maps over the voxels that the network saw; blank of a flat map"
    ),
    "spearman_absolute": Meaning(ONE, "The same of absolute values"),
    "ssim": Meaning(ONE, "Structural similarity of the two maps in windows of 7 voxels"),
    "folds.fold": Meaning(ONE, "Fold, from 0, that judges the patient"),
    "atlas names.label": Meaning(ONE, "Label in the atlas, from 1"),
    "atlas names.name": Meaning(TEXT, "Its region; each name once"),
}
STRATIFICATION = {
    **_EXPLAINED,
    **meanings(
        TEXT,
        scan_date="Day of the scan, ISO 8601; or `scan_day`",
        edss_date="Day of the assessment, ISO 8601; or `edss_day`",
        region_labels="File of the map of regions, on the grid of T1: FreeSurfer, FastSurfer, SynthSeg or MindGlide",
    ),
    **meanings(
        "days",
        scan_day="Day of the scan, of any count of days that the patient's rows share",
        edss_day="Day of the assessment, of the same count",
    ),
    **meanings("T", field_tesla="Field strength of the scanner"),
    **meanings(
        "SD",
        age_z="Age, from the cohort's mean",
        ventricle_z="Size of the ventricles that was drawn",
        stem_z="Shrinkage of the brain stem that was drawn",
        lesion_z="Logarithm of the lesion volume that was drawn, from the median",
    ),
    "disability truth.edss": Meaning("EDSS", "Of the assessment that followed the scan"),
    "disability truth.ventricles_ml": Meaning("ml", "Volume of the lateral ventricles in the labels"),
    "disability truth.brainstem_ml": Meaning("ml", "Volume of the brain stem in the labels"),
    "disability truth.latent": Meaning("log odds", "Weighted sum that the EDSS depends on"),
    "disability truth.risk": Meaning("1", "Probability of an EDSS of 3.0 or more, given what was drawn"),
    "disability truth.onset_week": Meaning("weeks", "When the EDSS worsens for good"),
    "disability truth.age_years": Meaning("years", "Age at the scan"),
    **meanings(
        TEXT,
        strategy="Whose networks do not see the scan: `all`, or the region that lacks",
        regions_from="Where its regions come from: `labels`, `priors`, or blank for none",
    ),
    **meanings(
        "ml",
        brain_ml="Volume of the brain mask, in the patient's own size",
        wm_ml="Volume of white matter, lesions too, in the patient's own size; blank where regions are not known",
        gm_ml="The same of cortical and cerebellar grey matter",
        sgm_ml="The same of deep grey matter",
        ventricles_ml="The same of the ventricles",
        brainstem_ml="The same of the brainstem",
    ),
    "disability_risk": Meaning(
        ONE, "Probability of EDSS >= 3.0 that a network has predicted from the scan at baseline (`nnunet-ms-stratify`)"
    ),
    "disabled": Meaning("1", "1 where EDSS >= 3.0, else 0"),
    "days_to_edss": Meaning("days", "From the scan to the assessment; negative where an earlier one was asked for"),
    "brain_dice": Meaning("1", "Dice coefficient of the brain, in MNI152 space, and the template's"),
    "lesion_volume_ml": Meaning("ml", "Volume of the patient's T2 lesions at the scan"),
    "disability manifest.edss": Meaning("EDSS", "Of the assessment within 183 days after the scan: 0, 1, 1.5, ... 10"),
    "prepared scans.edss": Meaning("EDSS", "Of the assessment that belongs to the scan"),
    "prepared scans.age_years": Meaning("years", "Age at the scan"),
    "disability manifest.age_years": Meaning("years", "Age at the scan"),
    **{
        f"{table}.model": Meaning(TEXT, "Strategy of a network (global, wm, ...), or name of a baseline")
        for table in _PREDICTED
        if table != "disability predictions"
    },
    **{
        f"{table}.fold": Meaning(ONE, "Fold, from 0, whose patients the model had not seen")
        for table in _PREDICTED
        if table != "disability predictions"
    },
    **{
        f"{table}.threshold": Meaning(
            ONE,
            "Probability from which a scan is called disabled (EDSS >= 3.0); of the "
            "largest sum of sensitivity and specificity in the validation fold",
        )
        for table in _PREDICTED
    },
    **{
        f"{table}.probability": Meaning(ONE, "Probability of EDSS >= 3.0, by a model that has not seen the patient")
        for table in _PREDICTED[:2]
    },
    "disability cross-validation.truth": Meaning(ONE, "1 EDSS >= 3.0 within 183 days after the scan, 0 below"),
    "disability predictions.disabled": Meaning(ONE, "1 where the probability reaches the threshold, else 0"),
    "disability baselines.term": Meaning(TEXT, "Predictor of the regression; regions are percent of the brain"),
    "disability baselines.estimate": Meaning("log odds", "Per unit of the term"),
    "disability baselines.penalty": Meaning(TEXT, "`none`: maximum likelihood; or `ridge`"),
    "disability baselines.reason": Meaning(TEXT, "Why it is a ridge; blank where it is none"),
    "disability baselines.n": Meaning(ONE, "Scans that it was fitted on"),
    "disability baselines.positive": Meaning(ONE, "Of them disabled"),
    **_of(
        "disability judgements",
        ONE,
        probability="Probability of EDSS >= 3.0",
        threshold="Probability from which a scan is called disabled; without it there are decisions at .5 alone",
        fold="Fold whose patients the model had not seen; blank or missing of a model that was frozen before",
        truth="1 EDSS >= 3.0, 0 below; may be told by the table of scans instead",
    ),
    **{
        f"{table}.{name}": Meaning(TEXT, words)
        for table in _EVALUATED
        for name, words in {
            "data": "What the data are, such as `simulated`; blank where nothing was said",
            "problem": "Why a number is missing or doubtful",
        }.items()
    },
    **{
        f"{table}.model": Meaning(TEXT, "Strategy of a network, or name of a baseline")
        for table in (*_COUNTED, "disability comparisons", "disability judgements")
    },
    **{f"{table}.scans": Meaning(ONE, "Scans that every model has judged") for table in _COUNTED},
    **{
        f"{table}.positive": Meaning(ONE, "Of them disabled (EDSS >= 3.0)")
        for table in (*_EVALUATED, "disability calibration")
    },
    **_of(
        "disability results",
        TEXT,
        evaluation="`cross-validation`: trained in folds on these patients; or `frozen`",
        scope="Pairs of an area: all (`pooled`), or `within folds` or `within field strength`",
        decision="Threshold of the decisions: `0.5`, or the `validation` scans'; blank of other measures",
        measure="`roc_auc`, a rate of decisions, of calibration, `brier`",
    ),
    **_of(
        "disability results",
        "as the metric",
        estimate="The measure",
        low="Lower limit over patients, widened for models trained in folds; of calibration Wald's",
        high="Upper limit",
        plain_low="Lower limit before it was widened",
        plain_high="Upper limit before it was widened",
    ),
    "disability results.patients": Meaning(ONE, "Patients with such scans"),
    "disability comparisons.patients": Meaning(ONE, "Patients of the test, one scan each"),
    **_of(
        "disability comparisons",
        TEXT,
        question="`increment`: what the model adds to a baseline; `difference`: two networks",
        versus="The model whose value is taken away, or to whose predictors the other's log odds are added",
    ),
    **_of(
        "disability comparisons",
        ONE,
        p="Increment: one-sided likelihood-ratio test, statistic halved out of fold; difference: DeLong's, two-sided",
        p_holm="Holm's, over the networks of one baseline, or over the pairs of networks",
        statistic="Twice the gain of log-likelihood",
        p_as_given="Of the statistic as it is, two-sided, as R's anova has it",
        coefficient="Of the model's log odds beside the baseline's predictors",
        auc_difference="Difference of areas, all scans",
        low="Lower limit of it over patients, widened for models trained in folds",
        high="Upper limit",
        delong_difference="Difference of areas, one scan of each patient",
        delong_se="DeLong's standard error, as if both models were given",
        delong_low="Lower limit by it",
        delong_high="Upper limit by it",
        delong_p="DeLong's two-sided p",
        balanced_difference="Difference of balanced accuracy at .5",
        balanced_low="Lower limit of it over patients, widened for models trained in folds",
        balanced_high="Upper limit",
    ),
    **_of(
        "disability calibration",
        ONE,
        low="Least probability of the group",
        high="Largest probability of the group",
        mean_probability="Mean probability of the group",
        observed="Share of disabled scans",
        observed_low="Lower limit of it, Wilson's 95 %",
        observed_high="Upper limit",
    ),
    **_of(
        "disability decision curve",
        ONE,
        threshold="Probability from which one acts",
        net_benefit="True positives less false positives weighed by the threshold's odds, per scan",
        treat_all="The same of acting on everybody",
        treat_none="0: of acting on nobody",
    ),
    "scans left out.model": Meaning(TEXT, "Model that has not judged the scan"),
    "scans left out.reason": Meaning(TEXT, "Why no model is evaluated on it"),
    "scans of an evaluation.age_years": Meaning("years", "Age at the scan"),
}
