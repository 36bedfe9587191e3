"""What the columns of disability from the brain mean: a part of the vocabulary."""

from nnunet_ms.meaning import TEXT, Meaning, meanings

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
    "disabled": Meaning("1", "1 where EDSS >= 3.0, else 0"),
    "days_to_edss": Meaning("days", "From the scan to the assessment; negative where an earlier one was asked for"),
    "brain_dice": Meaning("1", "Dice coefficient of the brain, in MNI152 space, and the template's"),
    "lesion_volume_ml": Meaning("ml", "Volume of the patient's T2 lesions at the scan"),
    "disability manifest.edss": Meaning("EDSS", "Of the assessment within 183 days after the scan: 0, 1, 1.5, ... 10"),
    "prepared scans.edss": Meaning("EDSS", "Of the assessment that belongs to the scan"),
    "prepared scans.age_years": Meaning("years", "Age at the scan"),
    "disability manifest.age_years": Meaning("years", "Age at the scan"),
}
