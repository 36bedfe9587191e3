"""Statistics on data frames, one call each: `ms.statistics.cox(frame, "time", "event", ["arm", "tlv"])`.

Every function names columns, and returns a `Result`: a tidy `table`, one row per estimate, and the `fit` that it was
made from. Columns of text are factors; their first level in sorted order is the reference, unless
`reference={"arm": "placebo"}` names another, and the table says which. `missing="drop"` leaves rows with missing values
out and says how many; without it they are an error. "arm:tlv" among the covariates is a product.
"""

from nnunet_ms.statistics.frame_arms import ancova, count_model, mmrm
from nnunet_ms.statistics.frame_classification import added_value, classifiers
from nnunet_ms.statistics.frame_rows import Result
from nnunet_ms.statistics.frame_survival import cox, kaplan_meier, logrank

__all__ = [
    "Result",
    "added_value",
    "ancova",
    "classifiers",
    "count_model",
    "cox",
    "kaplan_meier",
    "logrank",
    "mmrm",
]
