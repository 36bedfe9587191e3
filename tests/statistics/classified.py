"""The table of classification.R, and its results: R 4.2.2, epiR 2.0.57; command and versions stand in both files."""

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.special

I = np.arange(160)  # noqa: E741 (the name in classification.R)
Y = ((I * I * 7 + 3 * I) % 19 + (I % 7) > 14).astype(int)
AGE, VOLUME, NETWORK = (I * 13) % 47 / 5, (I * I) % 31 / 10, (I * 17 + I * I * 3) % 29 / 29
P = scipy.special.expit(-1.2 + 0.11 * AGE - 0.4 * VOLUME + 1.5 * NETWORK)
R = pd.read_csv(Path(__file__).with_name("classification.csv")).set_index("name")["value"].to_dict()
