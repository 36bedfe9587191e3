"""What every column of every table means, and its unit: one name means one thing in the whole package.

`docs/tables.md` prints it table by table. Where a table uses a name in a narrower sense, the key is `table.column` with
the table's name. A name that holds one of several words ends in `*`.
"""

from fnmatch import fnmatchcase

from nnunet_ms.meaning import FLAG, ONE, TEXT, Meaning
from nnunet_ms.meaning import meanings as _words
from nnunet_ms.vocabulary_of_adam import ADAM
from nnunet_ms.vocabulary_of_conversion import CONVERSION
from nnunet_ms.vocabulary_of_curves import CURVES
from nnunet_ms.vocabulary_of_groups import GROUPS, SEVERAL_TRIALS
from nnunet_ms.vocabulary_of_progression import PROGRESSION
from nnunet_ms.vocabulary_of_rims import RIMS
from nnunet_ms.vocabulary_of_scans import SCANS
from nnunet_ms.vocabulary_of_stratification import STRATIFICATION


def meaning_of(column: str, table: str = "") -> Meaning:
    """Meaning of a column, in the sense of one table where it has its own.

    Parameters
    ----------
    column : str
        The column's name.
    table : str, optional
        `tables.Table.name`.

    Raises
    ------
    KeyError
        If the vocabulary lacks it: add it there.

    Examples
    --------
    >>> meaning_of("volume_ml").unit
    'ml'
    >>> meaning_of("sha256_flair").words
    'SHA-256 of that source file'
    >>> meaning_of("n", "concordance").words
    'Cases with both volumes or counts'
    """
    for name in (f"{table}.{column}", column):
        if name in COLUMNS:
            return COLUMNS[name]
    for pattern, meaning in COLUMNS.items():
        if "*" in pattern and fnmatchcase(column, pattern):
            return meaning
    raise KeyError(f"{column}: expected a column of the vocabulary, found none (table {table!r}). Add its meaning.")


_VERSUS = (
    "In the reference's place: a rater, a model, `reference`, or a consensus (majority, staple, majority_of_others)"
)

# Who, when, by whom
_KEYS = {
    **_words(
        TEXT,
        case_id="One scan of one patient, as the files of the nnU-Net dataset are called",
        patient_id="The patient; folds and resampling keep a patient's rows together",
        visit="The visit's name in the source",
        discontinuation_reason="Why the patient stopped treatment, in the trial's own words",
        arm="Arm of the trial to which the patient was randomised",
        site="Where the scan was made; folds may keep a site together",
        role="`train` or `test`: whether the case may be seen in training",
        rater="Who drew the mask: `reference`, or the name of a model",
        other_rater="The model that `rater` is compared with",
        lesion_type="Name of the label: `t2_lesions`, `t1_unenhancing`, `t1_enhancing`, or a name of `--labels`",
        rule="Named rule of components, size filter and criterion (lesion_metrics.md)",
        metric="Name of the metric (lesion_metrics.md; uncertainty.md)",
        data_note="What the data are, such as `simulated`; blank where nothing was said",
        reason="Why, in words",
        change_note="Why the columns of change are blank",
        previous_visit="The visit with which this one is compared",
        subset="Cases that the row is about: all, or those with or without new lesions",
        method="How the numbers were computed",
    ),
    **_words(
        "weeks",
        week="Weeks since randomisation, or since the first visit",
        previous_week="Week of the visit with which this one is compared",
        discontinued_week="When the patient stopped treatment; blank if never",
    ),
}

# Sources and datasets
_SOURCES = {
    **_words(
        TEXT,
        flair="File of the FLAIR image, relative to the table",
        t2="File of the T2-weighted image",
        t1="File of the T1-weighted image",
        t1post="File of the T1-weighted image after contrast agent",
        qsm="File of the quantitative susceptibility map, in ppb",
        lesions="File of the lesion mask that rims are told of; without it that of T2 lesions",
        rim_mask="File of the mask of rims",
        labels="File of the lesions' labels: points (x_mm, y_mm, z_mm, label) or an image (1 rim-, 2 rim+)",
        brain_mask="File of the brain mask",
        t2_lesions="File of the reference mask of T2 lesions",
        t1_unenhancing="File of the reference mask of T1 unenhancing lesions",
        t1_enhancing="File of the reference mask of T1 enhancing lesions",
        region="Region of recruitment; a stratum of the trials",
        sex="`F` or `M`",
        randomisation_date="Day 0, ISO 8601, where assessments have dates",
        date="Day of the assessment or relapse, ISO 8601, where it is not told in weeks",
    ),
    "source_*": Meaning(TEXT, "Source file of that channel, or of the label"),
    "sha256_*": Meaning(TEXT, "SHA-256 of that source file"),
    **_words("years", age_years="Age at randomisation"),
    **_words(
        "EDSS",
        edss="Expanded disability status scale, 0 to 10",
        edss_baseline="Expanded disability status scale at baseline",
    ),
    **_words("seconds", t25fw_s="Timed 25-foot walk", nhpt_s="Nine-hole peg test"),
    **{f"t25fw_{i}_s": Meaning("seconds", f"Walk {i} of the visit; `t25fw_s` is then the mean") for i in (1, 2)},
    **{
        f"nhpt_{hand}_{i}_s": Meaning("seconds", f"Trial {i} with the {hand} hand; `nhpt_s` is then the hands' mean")
        for hand in ("dominant", "other")
        for i in (1, 2)
    },
    **_words(
        FLAG,
        scheduled="Whether the assessment was planned; an unplanned one cannot confirm a progression",
        t25fw_unable="The patient could not walk the distance: worse than any time",
        nhpt_unable="The patient could not do the test: worse than any time",
    ),
}

# Lesions of one mask
_LESIONS = {
    **_words(
        ONE,
        lesion_id="Number of the lesion in its mask, from 1",
        voxels="Voxels of the lesion",
        x_first="Lower corner of the bounding box, voxel index along the first axis",
        y_first="Lower corner of the bounding box along the second axis",
        z_first="Lower corner of the bounding box along the third axis",
        x_last="Upper corner of the bounding box, still inside, voxel index along the first axis",
        y_last="Upper corner of the bounding box along the second axis",
        z_last="Upper corner of the bounding box along the third axis",
        overlap_voxels="Voxels shared with the other rater's mask",
        lesion_dice="Dice of the lesion with what touches it in the other mask",
        infratentorial_share="Share of the lesion's voxels in the infratentorial region",
        voxels_old="Voxels that are lesion at both visits",
        voxels_only_here="Voxels that are lesion at this visit only",
        lesion_count="Lesions in the mask under the rule",
        prl_count="Lesions with a paramagnetic rim; of patients those at baseline, of visits those of T2 lesions",
        new_lesion_count="Lesions that the visit before did not have; blank at the first visit",
        enlarging_lesion_count="Lesions that have grown since the visit before; blank at the first visit",
        new_or_enlarging_lesion_count="Lesions that are new or have grown since the visit before, not told apart",
        resolved_or_shrinking_lesion_count="Lesions that resolved or shrank since the visit before, not told apart",
        existing_lesion_count="Lesions that were there before and have not grown",
        shrinking_lesion_count="Lesions of the visit before of which a part is left",
        resolved_lesion_count="Lesions of the visit before of which nothing is left",
    ),
    **_words(
        "ml",
        volume_ml="Volume: voxels times volume of a voxel",
        changed_ml="Volume that the lesion gained, or lost, between the visits",
        mask_volume_ml="Volume of the whole mask, lesions below the rule's size included",
        new_volume_ml="Volume of new lesions",
        enlarging_volume_ml="Volume that enlarging lesions gained",
        new_or_enlarging_volume_ml="Volume of new lesions and of what enlarging ones gained, not told apart",
        resolved_or_shrinking_volume_ml="Volume that resolved and shrinking lesions lost, not told apart",
        shrinking_volume_ml="Volume that shrinking lesions lost",
        resolved_volume_ml="Volume that resolved lesions had",
    ),
    **_words(
        "mm",
        x_mm="Centre of mass in world coordinates (RAS+), first axis",
        y_mm="Centre of mass in world coordinates, second axis",
        z_mm="Centre of mass in world coordinates, third axis",
        distance_mm="Distance to the nearest lesion of the other mask, surface to surface; 0 where they touch",
        ventricles_mm="Distance to the ventricles",
        cortex_mm="Distance to the cortex",
    ),
    **_words(FLAG, found="Whether the other mask confirms the lesion under the rule"),
    "found_by_*": Meaning(FLAG, "Whether that model finds the reference lesion; with several models"),
    **_words(
        TEXT,
        location="Location class: infratentorial, periventricular, juxtacortical or deep_white_matter; unknown where "
        "`nnunet-ms-segment` cannot tell",
        mask="Mask that the lesion is in: `followup` or `baseline`",
        change="What became of the lesion: existing, new, enlarging, small; kept, resolved, shrinking, small",
    ),
}

# Agreement, concordance, comparison
_AGREEMENT = {
    **_words(
        "as the metric",
        value="Value; blank where undefined",
        mean="Mean over cases, or the cohort's own value",
        sd="Standard deviation over cases (n - 1)",
        se="Standard error, patients as clusters",
        low="Lower limit of the interval",
        high="Upper limit of the interval",
        estimate="Value of the statistic",
        patient_low="Lower limit when patients, not cases, are resampled",
        patient_high="Upper limit when patients, not cases, are resampled",
        difference="Mean over cases of `rater` minus `other_rater`",
        reference="Value of the reference",
        prediction="Value of the model",
    ),
    **_words(
        ONE,
        n="Cases with a value",
        concordance__n="Cases with both volumes or counts",
        uncertainty__n="How many `unit` the number is about",
        n_undefined="Cases in which the metric is undefined",
        n_left_out="Cases left out, because a ratio with 0 does not exist",
        n_cases="Cases",
        n_patients="Patients",
        level="Share that the interval covers, such as 0.95",
        p="Two-sided p value",
        p_holm="Two-sided p value after Holm's correction",
        place="Place of the model by mean rank, 1 is best",
        mean_rank="Mean over cases of the model's rank",
        voxels_min="Smallest size of the group, in voxels",
        voxels_max="Largest size of the group, in voxels; blank in the last group",
        reference_lesions="Lesions of the reference in the group",
        reference_share="Share of the group in all reference lesions",
        found_lesions="Reference lesions of the group that the model finds",
        ltpr="Lesion-wise true-positive rate: found / reference lesions",
        ltpr_low="Lower limit of `ltpr`, patients as clusters",
        ltpr_high="Upper limit of `ltpr`, patients as clusters",
        predicted_lesions="Lesions of the model in the group",
        predicted_share="Share of the group in all predicted lesions",
        false_lesions="Predicted lesions of the group that the reference does not confirm",
        lfpr="Lesion-wise false-positive rate: false / predicted lesions",
        lfpr_low="Lower limit of `lfpr`, patients as clusters",
        lfpr_high="Upper limit of `lfpr`, patients as clusters",
        lesion_dice_found="Mean Dice of the lesions that are found",
        n_lesions="Reference lesions",
        n_false="False candidates",
        score="Mean probability of the candidate, 0 where the model has none",
        sensitivity="STAPLE's estimate of the share of true lesion voxels that the rater has marked",
        specificity="STAPLE's estimate of the share of other voxels that the rater has left",
        williams_index="Mean agreement with the raters over their mean agreement with each other",
        n_raters="Raters of whom the group or the consensus is made",
        n_complete="Cases that all of them have read",
        rater_matrix__n_cases="Cases that both have",
        rater_sizes__n_cases="Cases that both have",
        williams__n_cases="Cases that two of them at least have read",
    ),
    **_words(
        TEXT,
        quantity="What is compared: `volume_ml` or `lesion_count`",
        statistic="Which statistic: pearson_r, lin_ccc, icc_2_1, bias and limits of Bland and Altman",
        unit="Unit of the numbers in the row",
        size_bin="Group of lesion sizes in voxels",
        size="Group of lesion volumes: small, large, all",
        versus="The model that `rater` is compared with; blank for a model's own numbers",
        rater_cases__versus=_VERSUS,
        rater_matrix__versus=_VERSUS,
        rater_sizes__versus=_VERSUS,
        staple_rates__metric="Which rate: `sensitivity` or `specificity`",
        williams__metric="Agreement that the index is of; of what is not symmetric the mean of both directions",
        missing_raters__rater="Who has no mask of the case",
        candidate="Number of the candidate in its case",
        truth="What the candidate is: lesion, false or confirmed",
        counted="In which set of candidates it counts: own, common, both, none",
        components="What the components were made of: the masks, or voxels above a probability",
    ),
}

# Uncertainty
_MEASURES = {
    "entropy": ("nats", "entropy of the mean probability"),
    "expected_entropy": ("nats", "mean entropy of the samples"),
    "mutual_information": ("nats", "mutual information"),
    "epkl": ("nats", "expected pairwise Kullback-Leibler divergence"),
    "rmi": ("nats", "reverse mutual information"),
    "variance": (ONE, "variance of the samples"),
    "negated_confidence": (ONE, "negated confidence"),
}
_UNCERTAINTY = {
    **_words(
        ONE,
        uncertainty="Lesion structural uncertainty: 1 - mean best IoU over samples; blank with one sample",
        edge_share="Share of the lesion within 4 mm of where the images end; high in scalp that a brain mask holds",
        mean_probability="Mean probability over the lesion's voxels, or over the bin",
        lsu_plus="Lesion structural uncertainty with a threshold per fold",
        n_samples="Samples that the numbers come from",
        psu="Patient structural uncertainty: 1 - mean IoU of samples' masks",
        psu_plus="Patient structural uncertainty with a threshold per fold",
        mean_lsu="Mean structural uncertainty of the case's lesions",
        lesion_count_sd="Standard deviation of the number of lesions over samples",
        content_voxels="Voxels that are not 0 in some channel; the measures are averaged over them",
        bin_low="Lower border of the bin of probability",
        bin_high="Upper border of the bin of probability",
        calibration__voxels="Voxels whose probability lies in the bin",
        lesion_share="Share of the bin's voxels that are lesion in the reference",
        kept_share="Share of voxels or lesions that is kept, the most certain first",
    ),
    **_words(
        "ml",
        expected_volume_ml="Sum of probabilities times volume of a voxel",
        calibrated_volume_ml="Lesion volume by the model's calibration on held-out cases",
        calibrated_lower_ml="Lower limit of that volume, at the level of the calibration (90 % unless told)",
        calibrated_upper_ml="Upper limit of that volume; inf where too few patients were held out for one",
        reference_volume_ml="Lesion volume of the reference mask",
        volume_ml_sd="Standard deviation of the lesion volume over samples",
        volume_ml_low="2.5th percentile of the lesion volume over samples",
        volume_ml_high="97.5th percentile of the lesion volume over samples",
    ),
    **_words(
        "seconds",
        prepare_s="To read and preprocess the case, beside the prediction of the one before",
        predict_s="To predict the case on `device`: all folds and samples",
        write_s="To make and write mask, maps, picture and tables of the case",
        case_s="Sum of the three",
    ),
    **_words(
        "MB of 1e6 bytes",
        peak_memory_mb="Most main memory of the process until then; blank where the system does not say",
        peak_gpu_memory_mb="Most memory that torch reserved on the GPU during the case; blank without one",
    ),
    **_words(
        TEXT,
        device="Where the case was predicted: the GPU's model, or the CPU with its number of threads",
        volume_calibration_note="What to know of the calibrated volume: too few patients, outside of what was "
        "calibrated, other sampling; blank if nothing",
        kind="Which prediction: `probability`, the mean of samples, or `deterministic`, without dropout",
        uncertainty__region="Voxels that are counted: all, or candidates above a low probability",
        calibration__region="Voxels that are counted: all, or candidates above a low probability",
        curve="What is drawn: ndsc, f1, lppv or ltpr",
        order="In which order voxels or lesions are given up: by uncertainty, ideal, random",
    ),
    **{f"{name}_mean": Meaning(unit, f"Mean over voxels: {words}") for name, (unit, words) in _MEASURES.items()},
    **{f"{name}_log_mean": Meaning(ONE, f"Mean logarithm: {words}") for name, (_, words) in _MEASURES.items()},
    **{f"{name}_log_sum": Meaning(ONE, f"Sum of logarithms: {words}") for name, (_, words) in _MEASURES.items()},
}

# Endpoints of a trial
_ENDPOINTS = {
    **_words(
        TEXT,
        endpoint="What the trial asks: t2_volume_percent_change, new_t2_lesions, cdp24, agreement and others",
        analysis="How the endpoint is analysed: ancova, mmrm, negative_binomial, cox, km_by_arm and others",
        population="Patients or cases that the row is about",
        contrast="Arms that are compared, `active - placebo` or `active / placebo`",
        exclusions__analysis="Analysis from which the patient or visit is left out",
        endpoints__visit="Visit of the analysis, as a week",
        term="Term of the model, or part of the analysis",
        stat_name="Name of the number: estimate, low, high, p, n and others",
        outcome="Outcome: cdp24 and others (endpoints.md)",
        component="Measure that made a composite outcome: edss, t25fw or nhpt",
        handling="What is done with 0 ml before a logarithm",
        column="Column of patients.csv that decides",
        prl_stratum="Stratum of the number of rim lesions; `missing` where it is not known",
        prl_counts__source="Table, and rater, that the number was taken from",
        prl_counts__note="That there is none, or what another rater counted",
        timed_tests__column="Value of a timed test that is computed from its trials",
    ),
    **_words("as `unit` says", stat="The number, not rounded; blank where not estimable, `method` says why"),
    **_words(
        "EDSS",
        edss_week_0="EDSS of the assessment at week 0",
        difference="EDSS at week 0 minus that of the patient table, which counts",
    ),
    **_words("as the measure", baseline="Value of the measure at baseline"),
    **_words(
        "weeks",
        onset_week="When the progression began; of an open one too",
        confirmation_week="When the progression was confirmed; blank without an event",
        time_weeks="Time to the event, or to the last assessment that could have confirmed one",
        planned_week="Planned week to which the scan was taken",
    ),
    **_words(FLAG, event="Whether the outcome happened", used="Whether the scan is used"),
    **_words("ml", baseline_ml="Volume at baseline", tlv_ml="Total lesion volume at baseline"),
    **_words("seconds", timed_tests__seconds="The value; blank where a hand has no trial"),
    **_words("%", percent_change="100 (volume / baseline - 1)"),
    **_words(
        ONE,
        trials="Trials of the test that are there",
        n_risk="Patients at risk just before that time",
        n_event="Patients with the event at that time",
        survival="Kaplan-Meier estimate: probability of no event up to that time",
        hazard_ratio="Hazard ratio of the arm against the reference arm at that volume",
    ),
    **_words(
        TEXT,
        contents__number="Number in a study report (ICH E3)",
        contents__title="Title of the table or listing",
        contents__file="Its CSV file; the same name with .rtf is the document",
        estimands__attribute="One of the five of ICH E9(R1): population, treatment, variable and so on",
        estimands__text="What it is here",
        estimands__event="Intercurrent event; one row each",
        estimands__strategy="Strategy for it: treatment policy, composite variable; as in ADTTE where times are told",
    ),
}

# The simulator's truth
_SIMULATION = {
    **_words(ONE, first_visit="Visit at which the lesion appeared, from 0"),
    **_words(
        FLAG,
        new="Whether the lesion appeared at this visit, after the first",
        enhancing="Whether the lesion enhances at this visit",
        lesion_truth__t1_unenhancing="Whether the lesion is dark on T1 at this visit and does not enhance",
        rim="Whether the lesion has an iron rim",
    ),
}

COLUMNS = {
    **_KEYS,
    **_SOURCES,
    **_LESIONS,
    **_AGREEMENT,
    **_UNCERTAINTY,
    **_ENDPOINTS,
    **SEVERAL_TRIALS,
    **_SIMULATION,
    **ADAM,
    **GROUPS,
    **CURVES,
    **CONVERSION,
    **RIMS,
    **SCANS,
    **STRATIFICATION,
    **PROGRESSION,
}
