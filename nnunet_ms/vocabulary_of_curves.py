"""What the columns of a learning curve mean (`nnunet-ms-learning-curve`); a part of the vocabulary."""

from nnunet_ms.meaning import FLAG, ONE, TEXT, meanings

CURVES = {
    **meanings(
        TEXT,
        task="What the lesions are: flair, new, enhancing",
        learning_curve__arm="Which model: FT fine-tuned, DN de novo, `default` the source as it is, `grader` a human",
        study="The scan, or pair of scans: its `case_id`",
        run="Arm, number of training studies and tested subset of a training",
        family="Tests that are corrected together: anova, arms, default, grader",
        first="Model that is compared, such as `FT 10`; blank in the ANOVA",
        second="Model that it is compared with",
        note="Why a test could not be done, or what it leaves out",
        published_p="What the paper prints for its own patients",
    ),
    **meanings(
        FLAG,
        done="Whether it is trained and has predicted its subset",
        starred="Whether `p_bonferroni` is below .05: the paper's star",
    ),
    **meanings(
        "as the metric",
        published_se="Standard error that the paper prints beside; blank where it is not known",
        published_mean="What the paper prints for its own patients; blank where it has no such model",
        mean_first="Mean of the first model",
        mean_second="Mean of the second model",
        learning_curve__se="Standard error over studies, SD / sqrt(n)",
        learning_curve__difference="Mean of the first model minus that of the second",
    ),
    **meanings(
        ONE,
        learning_curve__size="Training studies, N; blank for models that were trained on none of them",
        learning_curve__subset="Subset that the study lies in, or that is tested, from 0",
        fold="Number of the fold in nnU-Net",
        n_train="Studies that it was trained on",
        n_test="Studies that it is tested on",
        n_missing="Studies that should have been scored and were not",
        learning_curve__n="Studies with a value",
        n_first="Studies with a value of the first model, in pairs of both; in the ANOVA of every model",
        n_second="Studies with a value of the second model",
        comparisons="Tests in the family",
        learning_curve__statistic="F of the ANOVA, t of the others",
        df="Degrees of freedom",
        df_error="Degrees of freedom of the error, in the ANOVA",
        p_bonferroni="The p value times `comparisons`, at most 1",
        p_epsilon="The p value of the ANOVA with Greenhouse and Geisser's epsilon",
        p_welch="The p value of Welch's test, in unpaired tests",
        p_rank="The p value of Wilcoxon's signed ranks (paired) or rank sums",
        p_mixed="The p value of the same contrast in a mixed model with an intercept per study",
    ),
}
