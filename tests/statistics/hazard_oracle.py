"""The table of `discrete_hazards.R` (R 4.2.2, survival 3.5.3)."""

from pathlib import Path

import numpy as np
import pandas as pd

TABLE = pd.read_csv(Path(__file__).with_name("discrete_hazards.csv"), comment="#")
EDGES = np.array([0.0, 12, 24, 36, 48])


def column(name):
    return TABLE[TABLE["what"] == name].sort_values("id")["value"].to_numpy()


def hazards(link):
    rows = TABLE[(TABLE["what"] == "hazard") & (TABLE["model"] == link)]
    return rows.pivot_table(index="id", columns="place", values="value").to_numpy()


def log_likelihood(link):
    return TABLE[(TABLE["what"] == "log_likelihood") & (TABLE["model"] == link)]["value"].item()


def survival(ties):
    rows = TABLE[(TABLE["what"] == "survival") & (TABLE["model"] == ties)]
    return rows.pivot_table(index="id", columns="place", values="value")
