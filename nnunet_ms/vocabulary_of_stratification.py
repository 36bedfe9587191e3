"""What the columns of disability from the brain mean: a part of the vocabulary."""

from nnunet_ms.meaning import FLAG, TEXT, Meaning, meanings

STRATIFICATION = {
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
        lesion_z="Logarithm of the lesion volume that was drawn, from the median",
    ),
    "disability truth.disabled": Meaning(FLAG, "Whether the EDSS is 3.0 or more"),
    "disability truth.edss": Meaning("EDSS", "Of the assessment that followed the scan"),
    "disability truth.ventricles_ml": Meaning("ml", "Volume of the lateral ventricles in the labels"),
    "disability truth.latent": Meaning("log odds", "Weighted sum that the EDSS depends on"),
    "disability truth.risk": Meaning("1", "Probability of an EDSS of 3.0 or more, given what was drawn"),
    "disability truth.onset_week": Meaning("weeks", "When the EDSS worsens for good"),
    "disability truth.age_years": Meaning("years", "Age at the scan"),
    "lesion_volume_ml": Meaning("ml", "Volume of the patient's T2 lesions at the scan"),
    "disability manifest.edss": Meaning("EDSS", "Of the assessment within 183 days after the scan: 0, 1, 1.5, ... 10"),
    "disability manifest.age_years": Meaning("years", "Age at the scan"),
}
