"""Numbers of the tidy table as text."""

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import reason_of, select, value_of
from nnunet_ms.analysis.report.wording import interval, p_text


class Numbers:
    """Looks statistics up with some keys fixed; an absent number says why."""

    def __init__(self, endpoints: pd.DataFrame, **keys: str) -> None:
        self.frame = select(endpoints, **keys)

    def get(self, stat_name: str, **keys: str) -> float:
        """Return the number; NaN where it is absent or blank."""
        return value_of(self.frame, stat_name=stat_name, **keys)

    def with_limits(self, stat_name: str, digits: int = 1, factor: float = 1.0, /, **keys: str) -> str:
        """Return the number times `factor` with its limits, or why it is blank."""
        values = [factor * self.get(name, **keys) for name in (stat_name, "low", "high")]
        if np.isnan(values[0]):
            return reason_of(self.frame, stat_name=stat_name, **keys) or "–"
        return interval(values[0], values[1], values[2], digits)

    def p(self, **keys: str) -> str:
        """Return a p value as text, or why it is blank."""
        value = self.get("p", **keys)
        return p_text(value) if not np.isnan(value) else reason_of(self.frame, stat_name="p", **keys) or "–"

    def methods(self) -> list[str]:
        """Return the distinct methods, without the reasons of blank numbers."""
        known = self.frame.loc[self.frame["stat"].notna(), "method"]
        return [text[0].upper() + text[1:] + "." for text in dict.fromkeys(known) if text]
