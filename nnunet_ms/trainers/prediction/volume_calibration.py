"""Calibrated lesion volumes: from the sum of probabilities to a volume in ml with an interval.

The sum of probabilities is no volume that can be believed: a faint probability in a million voxels of healthy brain
adds millilitres, and a network can be too sure or not sure enough. Held-out cases (predicted by networks that have not
seen their patient, with a reference mask) show by how much. Two steps:

1. Where probabilities are known voxel by voxel, log-odds z become a + b z (Platt scaling [1]_), fitted by maximum
   likelihood over the patients' voxels, each patient with the same weight. With that the sum over all held-out cases is
   that of the reference. Without probabilities this step is left out.
2. log(volume + offset) is a line of log(sum + offset) by least squares, each patient with the same weight, its slope
   drawn towards 1 as by one patient whose volumes spread by a factor e.

The interval is the jackknife+ over patients on that log scale: see `nnunet_ms.statistics.conformal`.

References
----------
.. [1] Platt J. Probabilistic outputs for support vector machines. Advances in Large Margin Classifiers, 61-74, 1999.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.errors import SettingsError
from nnunet_ms.statistics.conformal import jackknife_plus, largest_level
from nnunet_ms.trainers.prediction.platt import END, LOG_ODDS, WIDTH, fit_platt, logistic

LEVEL = 0.9
OFFSET_ML = 0.1  # added before logarithms, so that cases without lesions have one
LEAST_PATIENTS = 3  # without measuring, which leaves one more out
_BACK_TO_ONE = 1.0  # weight of a slope of 1, in patients whose log volumes have a variance of 1


def log_odds_counts(probability: npt.NDArray[np.floating], mask: Bools | None = None) -> Floats:
    """How many voxels have which log-odds, (B,) in bins of `LOG_ODDS`.

    Parameters
    ----------
    probability : (...) float array
        In [0, 1]. Those below 2e-9 count nothing; those nearer to 1 count in the last bin.
    mask : (...) bool array, optional
        Which voxels; without it all.

    Examples
    --------
    >>> counts = log_odds_counts(np.array([0.0, 0.5, 0.75, 1.0]))
    >>> counts.sum(), round(float(LOG_ODDS[counts > 0][1]), 2)
    (np.float64(3.0), 1.09)
    """
    here = np.asarray(probability[mask] if mask is not None else probability, dtype=np.float64).ravel()
    here = here[here > 1 / (1 + math.exp(END))]
    with np.errstate(divide="ignore"):  # a probability of 1
        z = np.log(here) - np.log1p(-here)
    which = np.clip((z + END) / WIDTH, 0, LOG_ODDS.size - 1).astype(np.int64)
    return np.bincount(which, minlength=LOG_ODDS.size).astype(np.float64)


@dataclass(frozen=True)
class Seen:
    """What a prediction shows of a case.

    Attributes
    ----------
    expected_ml : float
        Sum of probabilities times the volume of a voxel.
    volumes : (B,) float array or None
        `log_odds_counts` times the volume of a voxel, in ml.
    """

    expected_ml: float
    volumes: Floats | None = None


@dataclass(frozen=True)
class HeldOut:
    """A case with a reference, predicted by a network that has not seen its patient.

    `lesion_volumes`: as `seen.volumes`, of the voxels that are lesion in the reference.
    """

    case_id: str
    patient_id: str
    seen: Seen
    reference_ml: float
    lesion_volumes: Floats | None = None
    fold: str = ""


@dataclass(frozen=True)
class Fit:
    """Parameters: of Platt's scaling (a, b), or none, and of the line (intercept, slope)."""

    platt: tuple[float, float] | None
    line: tuple[float, float]

    def sum_ml(self, seen: Seen) -> float:
        """Sum of the scaled probabilities, in ml."""
        if self.platt is None or seen.volumes is None:
            return seen.expected_ml
        return float(seen.volumes @ logistic(self.platt[0] + self.platt[1] * LOG_ODDS))

    def log_volume(self, seen: Seen, offset_ml: float) -> float:
        """log(volume + offset)."""
        return self.line[0] + self.line[1] * math.log(self.sum_ml(seen) + offset_ml)


AS_THEY_ARE = Fit(None, (0.0, 1.0))  # sums of probabilities


@dataclass(frozen=True)
class WithoutPatient:
    """The fit without one patient, and its absolute errors in log(volume + offset) for each of that patient's cases."""

    fit: Fit
    errors: tuple[float, ...]


@dataclass(frozen=True)
class CalibratedVolume:
    """A volume with its interval, in ml; `note` says what a reader should know, such as why a limit is infinite."""

    volume_ml: float
    lower_ml: float
    upper_ml: float
    note: str = ""


@dataclass(frozen=True)
class VolumeCalibration:
    """How volumes of one label are calibrated. It names no patient.

    Attributes
    ----------
    label : str
        As the model names it.
    value : int
        Of the label.
    level : float
        Of the interval.
    offset_ml : float
    cases : int
        Held-out cases that it was fitted on.
    range_ml : (float, float)
        Smallest and largest sum of probabilities among them.
    fit : Fit
        On all of them.
    without : tuple of WithoutPatient
        One for each patient.
    measured : Measured or None
        How well it does on patients that it has not seen.
    """

    label: str
    value: int
    level: float
    offset_ml: float
    cases: int
    range_ml: tuple[float, float]
    fit: Fit
    without: tuple[WithoutPatient, ...]
    measured: "Measured | None" = None

    @property
    def patients(self) -> int:
        """Number of patients."""
        return len(self.without)

    @property
    def method(self) -> str:
        """In words."""
        if self.fit == AS_THEY_ARE:
            return "sums of probabilities as they are, which erred least on patients left out; jackknife+ over patients"
        platt = "" if self.fit.platt is None else "Platt scaling of voxels, then "
        return f"{platt}line of log volumes; jackknife+ over patients"

    @property
    def too_few(self) -> str:
        """Why limits are infinite; blank if they are not."""
        if self.level <= largest_level(self.patients) + 1e-12:
            return ""
        return (
            f"upper limit infinite: {self.patients} patients allow {100 * largest_level(self.patients):.0f} % at most, "
            f"{100 * self.level:g} % need {patients_needed(self.level)}"
        )

    @cached_property
    def _flat(self) -> tuple[Floats, list[int], list[int]]:
        errors = np.array([error for one in self.without for error in one.errors])
        of_case = [number for number, one in enumerate(self.without) for _ in one.errors]
        return errors, of_case, list(range(len(self.without)))

    def apply(self, seen: Seen) -> CalibratedVolume:
        """Calibrate a new case; the interval is widened, if need be, to hold the volume."""
        errors, of_case, patients = self._flat
        logs = np.array([self.without[n].fit.log_volume(seen, self.offset_ml) for n in patients])
        low, high = jackknife_plus(logs[of_case], errors, of_case, level=self.level)
        volume = self._ml(self.fit.log_volume(seen, self.offset_ml))
        notes = [self.too_few, self._outside(seen.expected_ml)]
        lower, upper = min(self._ml(low), volume), max(self._ml(high), volume)
        return CalibratedVolume(volume, lower, upper, "; ".join(note for note in notes if note))

    def _ml(self, log_volume: float) -> float:
        return max(math.exp(log_volume) - self.offset_ml, 0.0)

    def _outside(self, expected_ml: float) -> str:
        low, high = self.range_ml
        if low <= expected_ml <= high:
            return ""
        return f"{expected_ml:.3g} ml expected, calibrated on {low:.3g} to {high:.3g} ml"


@dataclass(frozen=True)
class Measured:
    """What calibrations without a patient say of that patient; every patient weighs the same.

    Attributes
    ----------
    coverage : float
        Share of reference volumes inside the interval; NaN where one patient less makes the limits infinite.
    error_before, error_after : float
        Mean of |volume - reference| / reference, over cases with lesions, of the sum of probabilities and calibrated.
    bias_before, bias_after : float
        The same with its sign.
    without_lesions : int
        Cases whose reference is empty: they have no relative error.
    """

    coverage: float
    error_before: float
    error_after: float
    bias_before: float
    bias_after: float
    without_lesions: int


def patients_needed(level: float) -> int:
    """How many patients finite limits of a level need.

    Examples
    --------
    >>> patients_needed(0.9), patients_needed(0.95), patients_needed(0.8)
    (9, 19, 4)
    """
    return math.ceil(round(level / (1 - level), 9))


def fit_calibration(
    cases: Sequence[HeldOut],
    *,
    label: str = "lesion",
    value: int = 1,
    level: float = LEVEL,
    offset_ml: float = OFFSET_ML,
    measure: bool = True,
    scale: bool = True,
) -> VolumeCalibration:
    """Fit a calibration on held-out cases.

    Where scaled volumes err more than the sums of probabilities themselves on patients left out, as with few patients
    and a network that is calibrated already, the sums are left as they are, and only the interval is fitted.

    Parameters
    ----------
    cases : sequence of HeldOut
        Of four patients or more, three of them with lesions. Platt scaling needs the voxels of all of them.
    label, value
        Of the model.
    level : float, optional
        Of the interval, in (0, 1).
    offset_ml : float, optional
        > 0.
    measure : bool, optional
        Whether the calibration is measured with one patient left out at a time; without it `measured` is None.
    scale : bool, optional
        Whether volumes are scaled.

    Raises
    ------
    SettingsError
        If there are too few patients, or no reference has a lesion.

    Examples
    --------
    Sums that are twice the truth:

    >>> cases = [HeldOut(str(n), str(n), Seen(2.0 * n), float(n)) for n in range(1, 11)]
    >>> found = fit_calibration(cases).apply(Seen(10.0))
    >>> round(found.volume_ml, 1), 4 < found.lower_ml < 5 < found.upper_ml < 6
    (5.0, True)
    """
    patients = _enough(cases, label, one_more=measure)
    pooled = _Pooled(cases, scale)
    fit = pooled.fit(offset_ml)
    without = []
    for patient in patients:
        own = [case for case in cases if case.patient_id == patient]
        left = pooled.fit(offset_ml, patient, fit)
        errors = (abs(math.log(case.reference_ml + offset_ml) - left.log_volume(case.seen, offset_ml)) for case in own)
        without.append(WithoutPatient(left, tuple(errors)))
    sums = [case.seen.expected_ml for case in cases]
    found = VolumeCalibration(
        label, value, level, offset_ml, len(cases), (min(sums), max(sums)), fit, tuple(without)
    )  # fmt: skip
    if not measure:
        return found
    found = replace(found, measured=(known := measured(cases, found)))
    if not scale or not known.error_after > known.error_before:
        return found
    return fit_calibration(cases, label=label, value=value, level=level, offset_ml=offset_ml, scale=False)


def measured(cases: Sequence[HeldOut], calibration: VolumeCalibration) -> Measured:
    """Measure a calibration on its own cases: each patient by a calibration that has not seen it."""
    pairs: list[tuple[HeldOut, CalibratedVolume]] = []
    for patient in dict.fromkeys(case.patient_id for case in cases):
        rest = [case for case in cases if case.patient_id != patient]
        again = fit_calibration(
            rest,
            label=calibration.label,
            value=calibration.value,
            level=calibration.level,
            offset_ml=calibration.offset_ml,
            measure=False,
            scale=calibration.fit != AS_THEY_ARE,
        )
        pairs += [(case, again.apply(case.seen)) for case in cases if case.patient_id == patient]
    lesions = [(case, found) for case, found in pairs if case.reference_ml > 0]
    of_lesions = [case.patient_id for case, _ in lesions]
    before = np.array([case.seen.expected_ml / case.reference_ml - 1 for case, _ in lesions])
    after = np.array([found.volume_ml / case.reference_ml - 1 for case, found in lesions])
    covered = [float(found.lower_ml <= case.reference_ml <= found.upper_ml) for case, found in pairs]
    is_finite = all(math.isfinite(found.upper_ml) for _, found in pairs)
    return Measured(
        coverage=_mean_of_patients(covered, [case.patient_id for case, _ in pairs]) if is_finite else math.nan,
        error_before=_mean_of_patients(abs(before), of_lesions),
        error_after=_mean_of_patients(abs(after), of_lesions),
        bias_before=_mean_of_patients(before, of_lesions),
        bias_after=_mean_of_patients(after, of_lesions),
        without_lesions=len(pairs) - len(lesions),
    )


def _enough(cases: Sequence[HeldOut], label: str, *, one_more: bool) -> list[str]:
    """The patients, if they are enough: one more, when each is left out once more to measure."""
    patients = list(dict.fromkeys(case.patient_id for case in cases))
    of_lesions = {case.patient_id for case in cases if case.reference_ml > 0}
    for what, found, least in (("", len(patients), LEAST_PATIENTS), (" with lesions", len(of_lesions), 2)):
        if found < least + one_more:
            raise SettingsError(
                f"{label}: expected held-out cases of {least + one_more} patients{what} or more, found {found}. Add "
                "cases with a reference that the networks have not seen."
            )
    return patients


def _mean_of_patients(values: Iterable[float], patients: Sequence[str]) -> float:
    """Mean over patients of the mean over their cases."""
    of_patient: dict[str, list[float]] = {}
    for patient, value in zip(patients, values, strict=True):
        of_patient.setdefault(patient, []).append(float(value))
    return float(np.mean([np.mean(of) for of in of_patient.values()]))


@dataclass
class _Pooled:
    """Held-out cases with what fits need, so that leaving a patient out costs little."""

    cases: Sequence[HeldOut]
    scale: bool
    weights: Floats = field(init=False)  # (n,) of a case: 1 / cases of its patient
    patients: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.patients = [case.patient_id for case in self.cases]
        self.weights = np.array([1 / self.patients.count(one) for one in self.patients])
        self._voxels = all(case.seen.volumes is not None and case.lesion_volumes is not None for case in self.cases)
        self._all = self._summed(self.patients) if self._voxels else None

    def _summed(self, patients: Iterable[str]) -> Floats:
        """Volumes (2, B) of all voxels and of lesion voxels, of the cases of some patients."""
        chosen = set(patients)
        total = np.zeros((2, LOG_ODDS.size))
        for case, weight in zip(self.cases, self.weights, strict=True):
            if case.patient_id in chosen and case.seen.volumes is not None and case.lesion_volumes is not None:
                total += weight * np.stack([case.seen.volumes, case.lesion_volumes])
        return total

    def fit(self, offset_ml: float, without: str | None = None, near: Fit | None = None) -> Fit:
        """Fit on all cases but those of one patient."""
        if not self.scale:
            return AS_THEY_ARE
        kept = [n for n, patient in enumerate(self.patients) if patient != without]
        platt = None
        if self._all is not None:
            there = self._all if without is None else np.maximum(self._all - self._summed([without]), 0)
            platt = fit_platt(there[0], there[1], near.platt if near is not None and near.platt else (0.0, 1.0))
        scaled = Fit(platt, (0.0, 1.0))
        x = np.array([scaled.log_volume(self.cases[n].seen, offset_ml) for n in kept])
        y = np.array([math.log(self.cases[n].reference_ml + offset_ml) for n in kept])
        return Fit(platt, _line(x, y, self.weights[kept]))


def _line(x: Floats, y: Floats, weights: Floats) -> tuple[float, float]:
    """Intercept and slope of y on x by weighted least squares, the slope drawn towards 1."""
    share = weights / weights.sum()
    mean_x, mean_y = float(share @ x), float(share @ y)
    spread, together = float(weights @ (x - mean_x) ** 2), float(weights @ ((x - mean_x) * (y - mean_y)))
    slope = (together + _BACK_TO_ONE) / (spread + _BACK_TO_ONE)
    return mean_y - slope * mean_x, slope
