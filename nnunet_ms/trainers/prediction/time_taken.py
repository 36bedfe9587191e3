"""What a prediction cost: seconds of each case, the device, and the memory at its peak.

Krishnan et al. [1]_ print 2 to 5 minutes per visit on a V100. Ours are wall-clock seconds of each case's own steps. The
next case is prepared while one is predicted, and with `--workers` cases are written beside that, so the seconds of all
cases add up to more than the run took.

References
----------
.. [1] Krishnan AP et al. Sci Rep 2023;13:4102. doi:10.1038/s41598-023-31207-5
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from nnunet_ms.arrays import Floats
from nnunet_ms.memory import peak_memory_mb

STEPS = ("prepare_s", "predict_s", "write_s")
SECONDS = (*STEPS, "case_s")
MEMORY = ("peak_memory_mb", "peak_gpu_memory_mb")
COLUMNS = (*SECONDS, "device", *MEMORY)
MEGABYTE = 1e6
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Cost:
    """Seconds to prepare and to predict a case, and where; memory in MB of 1e6 bytes, NaN where it is not known.

    `peak_memory_mb` is the most main memory that the process has held at any time so far, `peak_gpu_memory_mb` the most
    that torch reserved on the GPU during this case.
    """

    prepare_s: float
    predict_s: float
    device: str
    peak_memory_mb: float
    peak_gpu_memory_mb: float

    def columns(self, write_s: float) -> dict[str, Any]:
        """Columns of cases.csv for a case that took so many seconds to write, in this process or another.

        Examples
        --------
        >>> cost = Cost(2.0, 7.5, "cpu (2 threads)", float("nan"), float("nan"))
        >>> cost.columns(0.5)["case_s"]
        10.0
        """
        seconds = dict(zip(STEPS, (self.prepare_s, self.predict_s, write_s), strict=True))
        peak = float(np.fmax(self.peak_memory_mb, peak_memory_mb()))  # of two processes the larger
        memory = dict(zip(MEMORY, (peak, self.peak_gpu_memory_mb), strict=True))
        return {**seconds, "case_s": sum(seconds.values()), "device": self.device, **memory}


class Stopwatch:
    """Takes the time of a case's prediction on a device; made before the prediction begins."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device if device.type == "cuda" else None
        if self._gpu is not None:
            torch.cuda.reset_peak_memory_stats(self._gpu)
        self._started = time.monotonic()

    def cost(self, prepare_s: float, device: torch.device) -> Cost:
        """Cost of the case that is predicted now.

        Parameters
        ----------
        prepare_s : float
            Seconds that its preparation took.
        device : torch.device
            Where it was predicted in the end: a GPU that is too small gives way to the CPU.
        """
        if self._gpu is not None:
            torch.cuda.synchronize(self._gpu)
        seconds = time.monotonic() - self._started
        reserved = float("nan") if self._gpu is None else torch.cuda.max_memory_reserved(self._gpu) / MEGABYTE
        return Cost(prepare_s, seconds, device_words(device), peak_memory_mb(), reserved)


def device_words(device: torch.device) -> str:
    """Name a device: a GPU by its model, a CPU by the number of threads that torch uses.

    Examples
    --------
    >>> import torch
    >>> device_words(torch.device("cpu")).startswith("cpu (")
    True
    """
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


def summary(cases: pd.DataFrame) -> list[dict[str, Any]]:
    """Seconds per case and memory, by device, for prediction.json.

    Parameters
    ----------
    cases : pandas.DataFrame
        `case_id` and `COLUMNS`; further rows of a case, of other lesion types, count once.

    Returns
    -------
    list of dict
        `device`, `cases`, for each of `SECONDS` its median, minimum and maximum, and the largest of each of `MEMORY`,
        None where it is not known. Cases that were predicted before this was recorded stand under the device
        `NOT_RECORDED`.

    Examples
    --------
    >>> cost = Cost(2.0, 7.5, "cpu (2 threads)", float("nan"), float("nan"))
    >>> cases = pd.DataFrame([{"case_id": "a", **cost.columns(0.5)}, {"case_id": "b", **cost.columns(2.5)}])
    >>> summary(cases)[0]["case_s"]
    {'median': 11.0, 'minimum': 10.0, 'maximum': 12.0}
    """
    of_cases = cases.drop_duplicates("case_id").reindex(columns=["case_id", *COLUMNS])
    of_cases = of_cases.assign(device=of_cases["device"].fillna(NOT_RECORDED))
    return [_of_device(str(device), rows) for device, rows in of_cases.groupby("device", sort=True)]


def _of_device(device: str, rows: pd.DataFrame) -> dict[str, Any]:
    known = {name: rows[name].dropna().to_numpy(np.float64) for name in (*SECONDS, *MEMORY)}
    seconds = {
        name: {
            "median": float(np.median(known[name])) if known[name].size else None,
            "minimum": float(known[name].min()) if known[name].size else None,
            "maximum": _largest(known[name]),
        }
        for name in SECONDS
    }
    return {"device": device, "cases": len(rows), **seconds, **{name: _largest(known[name]) for name in MEMORY}}


def _largest(values: Floats) -> float | None:
    """Largest of some numbers, None without any: JSON has no NaN."""
    return float(values.max()) if values.size else None
