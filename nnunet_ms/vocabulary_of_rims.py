"""What the columns of rim lesions mean (`nnunet-ms-rim`): a part of the vocabulary."""

from nnunet_ms.meaning import ONE, TEXT, Meaning, meanings

_MODEL = "The rim classifier"
_LABEL = "1 rim+, 0 rim-, blank where nobody has labelled the lesion"
_WIDE = ("rim results", "rim counts", "rim predictions", "cross-validation", "lesions left out")
_LABELLED = (
    *("rim labels", "rim labels of lesions", "label problems", "rim predictions", "cross-validation"),
    *("lesions left out", "rim_lesions", "rim truth"),
)

RIMS = {
    **{f"{table}.model": Meaning(TEXT, _MODEL) for table in _WIDE},
    **{f"{table}.label": Meaning(ONE, _LABEL) for table in _LABELLED},
    **{
        f"{table}.fold": Meaning(ONE, "Fold, from 0, whose model had not seen the patient")
        for table in ("rim predictions", "cross-validation")
    },
    **{f"label problems.{axis}_mm": Meaning("mm", f"Place of the label, world, {axis}") for axis in "xyz"},
    **{f"rim labels.{axis}_mm": Meaning("mm", f"Place of the label, world (RAS+), {axis}") for axis in "xyz"},
    "label problems.distance_mm": Meaning("mm", "Distance to the nearest lesion; blank where the label is in one"),
    "label problems.lesion_id": Meaning(ONE, "Lesion that the label is in, or nearest to"),
    "rim_lesions.component": Meaning(ONE, "`lesion_id` in `lesions.csv` of the component that the lesion is a part of"),
    "rim_lesions.model": Meaning(TEXT, "The model's name, as `rater` in the other tables"),
    "rim results.versus": Meaning(TEXT, "The classifier whose value is taken away; blank for a model's own values"),
    "rim results.lesions": Meaning(ONE, "Labelled lesions that all models have scored"),
    "rim counts.lesions": Meaning(ONE, "Labelled lesions of the visit that all models have scored"),
    "rim results.patients": Meaning(ONE, "Patients with such lesions"),
    "rim results.sd": Meaning("as the metric", "Standard deviation over folds; of the mean of folds only"),
    **meanings(
        TEXT,
        scope="All lesions (`pooled`), one fold (`fold 0`), or the mean over folds",
        measure="Name of the measure (rim.md)",
        data="What the data are, such as `simulated`; blank where nothing was said",
        problem="Why a number is missing or doubtful; of a label, what is wrong with it",
    ),
    **meanings(
        ONE,
        rim_score="Mean probability of a rim in the lesion's outer 1.5 mm, by a network that segments rims",
        rim_share="Share of the lesion's outer 1.5 mm that is segmented as rim",
        probability="Probability that the lesion is rim+, by a model that has not seen its patient",
        threshold="Probability from which the model calls a lesion rim+, chosen without the patient",
        rim_lesions="Of them rim+, by the labels",
        predicted="Lesions that the model calls rim+",
    ),
    "padded_share": Meaning(ONE, "Share of the patch that lies outside of the image and is 0"),
    "no_qsm_share": Meaning(
        ONE, "Share of the lesion where QSM is 0 (with 63 neighbours or more), as outside of a reconstruction"
    ),
    "parts": Meaning(ONE, "Lesions that the connected one was taken apart into; 1 where it is one lesion"),
    "rim truth.kind": Meaning(TEXT, "What it looks like on QSM: `rim`, `bright`, `iso` or `dark`"),
    **meanings(
        "true or false",
        touches_border="Whether the lesion reaches the border of the image",
        has_flair="Whether the visit has FLAIR; without it that half of the patch is 0",
    ),
    **meanings(
        TEXT,
        brain_from="Where the brain in which FLAIR was scaled comes from",
        vein="Vein in the lesion: none, central, or at its edge, which looks like a part of a rim",
    ),
    **meanings(
        ONE,
        labelled="Lesions with a label",
        rim_positive="Of them rim+",
        too_small="Lesions left out, because they have fewer voxels than asked for",
        too_small_rims="Of them rim+",
        not_measured="Lesions whose features could not be measured; they are in `failures.csv`",
        rim_cover="Share of the lesion's surface that has the rim; blank without one",
    ),
    "original_shape_*": Meaning("1, mm, mm2, 1/mm or mm3", "14 features of the mask's shape"),
    "original_firstorder_*": Meaning("1, ppb or powers", "18 features of the values of QSM in the lesion"),
    "original_glcm_*": Meaning(ONE, "23 features of which levels of 25 ppb are neighbours"),
    "original_glrlm_*": Meaning(ONE, "16 features of runs of one level of 25 ppb"),
    "wavelet-*_firstorder_*": Meaning("1, ppb or powers", "The 18, of each of eight sub-bands, LLL to HHH"),
    "wavelet-*_glcm_*": Meaning(ONE, "The 23, of each of eight sub-bands"),
    "wavelet-*_glrlm_*": Meaning(ONE, "The 16, of each of eight sub-bands"),
    **meanings("ppb", base_ppb="Susceptibility of the lesion above white matter", rim_ppb="That of its rim above this"),
    **meanings(
        "mm",
        rim_mm="Half the width of the rim; blank without one",
        penumbra_mm="By how much the lesion is larger on FLAIR than on QSM",
    ),
    "rim counts.counted": Meaning(ONE, "Rim+ lesions of the visit by the labels"),
    "rim predictions.rim": Meaning(ONE, "1 where the model calls the lesion rim+, else 0"),
    **meanings(
        "as the metric",
        published="What the paper prints for its own patients (Zhang et al. 2022)",
        published_low="Lower limit that the paper prints",
        published_high="Upper limit that the paper prints",
        rerun="What an independent rerun of that network prints for other patients (Luu et al. 2025)",
        rerun_sd="Standard deviation over folds that the rerun prints",
    ),
}
