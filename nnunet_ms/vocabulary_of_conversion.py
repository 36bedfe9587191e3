"""What cases.csv says of how cases (and pairs of visits) were made, `nnunet-ms-convert`: a part of the vocabulary."""

from nnunet_ms.meaning import ONE, TEXT, meanings

CONVERSION = {
    **meanings(
        TEXT,
        resampled="Channels that were resampled to the grid of the first one; blank if none",
        absent="Channels that the case lacks, which are files of zeros (`--may-lack`); no such column if none does",
        rewritten="Files that were written anew instead of copied, and why (`images.headers`); absent if none",
        steps="Preparation that was asked for, in its order",
        source="Name of the case's source, where a dataset has several",
        cases__baseline_visit="Of a pair: the visit that the follow-up is compared with",
        registration="Of a pair: `rigid`, `greedy`, `published` or `none`, see `nnunet-ms-convert --registration`",
        flag="Of a pair: `poor_registration` where the visits stay unlike (correlation below 0.6); blank if not",
    ),
    **meanings("weeks", baseline_week="Of a pair: the week of `baseline_visit`"),
    **meanings(
        ONE,
        correlation_before="Of a pair: Pearson correlation of the first sequence in the common brain, by the headers",
        correlation_after="Of a pair: the same after registration",
        lesions_lost="Of a pair: lesions of the mask of change that its grid has no voxel of; blank if none",
    ),
}
