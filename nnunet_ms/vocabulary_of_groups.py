"""What columns of agreement by visit, site, place and size, and of several trials mean: a part of the vocabulary."""

from nnunet_ms.meaning import ONE, TEXT, Meaning, meanings

METRIC = "as the metric"
GROUPS = {
    **meanings(
        TEXT,
        averaging="`patients`: mean of patients' rates; `pooled`: rate of all lesions together",
        baseline_visit="Visit that the others are compared with; blank where none is known",
        brain_region="Named region that holds most of the lesion; blank for none",
        cohort="Name that the command was given for the evaluation",
        name="What the region is called",
        scheme="What the classes are: `location` by distance to masks, `brain_region` by a map of labels",
    ),
    **meanings(
        METRIC,
        baseline_mean="Mean at the baseline visit of the patients with both visits",
        paired_mean="Mean at this visit of the patients with both visits",
    ),
    **meanings(
        ONE,
        brain_region_share="Share of the lesion's voxels in `brain_region`",
        label="Number of the region in the map of labels",
        n_paired="Patients with a value at both visits",
    ),
    **meanings(
        "%",
        percent="`difference` in percent of `baseline_mean`",
        percent_low="Lower limit of `percent` (Fieller)",
        percent_high="Upper limit of `percent` (Fieller)",
    ),
    "agreement by visit.mean": Meaning(METRIC, "Mean over patients, or the cohort's own value"),
    "agreement by visit.sd": Meaning(METRIC, "Standard deviation over patients (n - 1)"),
    "agreement by visit.difference": Meaning(METRIC, "`paired_mean` minus `baseline_mean`"),
    "agreement by visit.low": Meaning(METRIC, "Lower limit of `difference`"),
    "agreement by visit.high": Meaning(METRIC, "Upper limit of `difference`"),
    "agreement by visit.week": Meaning("weeks", "Median week of the visit's cases; blank where unknown"),
    "agreement by visit.n_patients": Meaning(ONE, "Patients with a value at the visit"),
    "agreement by visit.note": Meaning(TEXT, "Why a cell is blank"),
    "agreement by site.note": Meaning(TEXT, "Why a cell is blank, or what the test is of"),
    "agreement by site.p": Meaning(ONE, "Kruskal-Wallis p over sites, in the row of all sites"),
    "agreement by location.location": Meaning(TEXT, "Location class or region; `all` is all of them"),
    "agreement by location.lesion_dice": Meaning(ONE, "Mean Dice of the class's reference lesions, 0 where missed"),
    **{
        f"{table}.{column}": meaning
        for table in ("agreement by size group", "size groups of cohorts")
        for column, meaning in {
            "sd": Meaning(METRIC, "Standard deviation of patients' rates (n - 1)"),
            "n_patients": Meaning(ONE, "Patients with such a lesion"),
            "n_lesions": Meaning(ONE, "Lesions that the rate is of"),
        }.items()
    },
}

# Results of several trials side by side (`nnunet-ms-endpoints compare`)
SEVERAL_TRIALS = {
    **meanings(
        TEXT,
        trial="Name of the trial, or of the test set",
        what="Setting, endpoint, rater or rule that not all trials have alike",
        has="What this trial has; yes and no where it is there or not; blank where it does not apply",
        consequence="What the comparison makes of the difference",
        model="Common effect, or random effects",
    ),
    "effects of several trials.visit": Meaning(TEXT, "Visit of the effect, as a week; blank where it is of all visits"),
    **meanings(
        ONE,
        log_se="Standard error of the logarithm of the ratio; blank where the number is no ratio",
        n_trials="Trials that are pooled",
        q="Cochran's Q, the test of equal effects",
        q_p="Its p value",
        i_squared="Share of the spread between trials that is not chance",
    ),
}
