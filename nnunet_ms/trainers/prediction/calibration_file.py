"""`volume_calibration.json` in a model's folder: written by `nnunet-ms-model calibrate`, read by every prediction."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from nnunet_ms.errors import ModelError, one_line
from nnunet_ms.outputs import whole_file
from nnunet_ms.trainers.packages.card import FACTS, read_facts
from nnunet_ms.trainers.prediction.volume_calibration import Fit, Measured, VolumeCalibration, WithoutPatient
from nnunet_ms.versions import version_of

FILE = "volume_calibration.json"
FORMAT = 1


@dataclass(frozen=True)
class ModelCalibration:
    """The calibrations of a model's labels.

    Attributes
    ----------
    labels : tuple of VolumeCalibration
    source : str
        What they were fitted on, in words, without paths.
    dropout : bool or None
        Whether those predictions had dropout; None if unknown.
    made_with : str
        Version of this package.
    sha256 : str
        Of the file.
    """

    labels: tuple[VolumeCalibration, ...]
    source: str
    dropout: bool | None
    made_with: str = ""
    sha256: str = ""

    def of(self, value: int) -> VolumeCalibration | None:
        """The calibration of a label, or None."""
        return next((one for one in self.labels if one.value == value), None)

    def lines(self) -> list[str]:
        """What a reader should know, one line for each label."""
        return [f"volumes of {one.label} calibrated on {_said(one)}; {self.source}" for one in self.labels]

    def record(self) -> dict[str, Any]:
        """For prediction.json."""
        labels = {
            one.label: {"method": one.method, "level": one.level, "cases": one.cases, "patients": one.patients}
            for one in self.labels
        }
        return {"file": FILE, "sha256": self.sha256, "source": self.source, "labels": labels}


def _said(one: VolumeCalibration) -> str:
    said = f"{one.cases} cases of {one.patients} patients, {100 * one.level:g} % intervals"
    if one.measured is None:
        return said
    how = one.measured
    covered = "not measurable with so few" if math.isnan(how.coverage) else f"{100 * how.coverage:.0f} %"
    return (
        f"{said}; on patients left out: mean error of volume {100 * how.error_before:.0f} % before, "
        f"{100 * how.error_after:.0f} % after, coverage {covered}"
    )


def write_calibration(calibration: ModelCalibration, folder: Path) -> ModelCalibration:
    """Write `volume_calibration.json`, in place of an older one.

    Examples
    --------
    >>> from nnunet_ms.trainers.prediction.volume_calibration import HeldOut, Seen, fit_calibration
    >>> cases = [HeldOut(str(n), str(n), Seen(2.0 * n), float(n)) for n in range(1, 11)]
    >>> found = ModelCalibration((fit_calibration(cases),), "sums that are twice the truth", None)
    >>> write_calibration(found, Path("calibrated")).sha256 == read_calibration(Path("calibrated")).sha256
    True
    """
    calibration = replace(calibration, made_with=version_of("nnunet-ms"))
    text = json.dumps(_content(calibration), indent=1, allow_nan=False) + "\n"
    with whole_file(folder / FILE) as partial:
        partial.write_text(text, encoding="utf-8")
    return replace(calibration, sha256=sha256(text.encode()).hexdigest())


def _content(calibration: ModelCalibration) -> dict[str, Any]:
    labels = []
    for one in calibration.labels:
        told = {**asdict(one), "patients": one.patients, "method": one.method}
        if one.measured is not None:
            told["measured"] = {
                name: None if math.isnan(value) else value for name, value in asdict(one.measured).items()
            }
        labels.append(told)
    about = {name: getattr(calibration, name) for name in ("made_with", "source", "dropout")}
    return {"format": FORMAT, **about, "labels": labels}


def read_calibration(folder: Path) -> ModelCalibration | None:
    """Read `volume_calibration.json` of a model; None if there is none.

    Raises
    ------
    ModelError
        If it is damaged, of a later format, or not the file that a packed model lists.

    Examples
    --------
    >>> read_calibration(Path("trained")) is None
    True
    """
    path = folder / FILE
    if not path.is_file():
        return None
    _check_hash(path)
    return parse_calibration(path.read_bytes(), path)


def parse_calibration(data: bytes, where: str | Path) -> ModelCalibration:
    """Calibrations from the bytes of a file.

    Raises
    ------
    ModelError
        If they are damaged, or of a later format.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}: expected JSON, cannot read it ({one_line(error)}). {_AGAIN}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ModelError(f"{where}: expected format {FORMAT}, found {found}. Install a newer nnunet-ms. {_AGAIN}")
    try:
        labels = tuple(_label(one) for one in content["labels"])
        about = {name: content[name] for name in ("source", "dropout", "made_with")}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{where}: expected a calibration, found others ({type(error).__name__}: {one_line(error)[:80]}). {_AGAIN}"
        ) from error
    return ModelCalibration(labels, **about, sha256=sha256(data).hexdigest())


_AGAIN = "Otherwise make it again: nnunet-ms-model calibrate MODEL."


def _label(told: Mapping[str, Any]) -> VolumeCalibration:
    measured = told["measured"]
    found = VolumeCalibration(
        label=str(told["label"]),
        value=int(told["value"]),
        level=_number(told["level"]),
        offset_ml=_number(told["offset_ml"]),
        cases=int(told["cases"]),
        range_ml=_pair(told["range_ml"]),
        fit=_fit(told["fit"]),
        without=tuple(WithoutPatient(_fit(one["fit"]), tuple(map(_number, one["errors"]))) for one in told["without"]),
        measured=None if measured is None else _measured(measured),
    )
    if not 0 < found.level < 1 or found.offset_ml <= 0 or not found.without:
        raise ValueError(f"level {found.level}, offset {found.offset_ml}, {found.patients} patients")
    return found


def _measured(told: Mapping[str, Any]) -> Measured:
    numbers = {name: math.nan if value is None else _number(value) for name, value in told.items()}
    return Measured(**{**numbers, "without_lesions": int(told["without_lesions"])})  # type: ignore[arg-type]


def _fit(told: Mapping[str, Any]) -> Fit:
    return Fit(None if told["platt"] is None else _pair(told["platt"]), _pair(told["line"]))


def _pair(told: Sequence[Any]) -> tuple[float, float]:
    first, second = told
    return _number(first), _number(second)


def _number(told: Any) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told):
        raise ValueError(f"{told!r} is no number")
    return float(told)


def _check_hash(path: Path) -> None:
    """Of a packed model: the file is one that `model.json` lists, with that hash."""
    facts_file = path.parent / FACTS
    if not facts_file.is_file():
        return
    expected = read_facts(facts_file.read_bytes(), facts_file).files.get(path.name, "none")
    found = sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ModelError(
            f"{path}: expected SHA-256 {expected[:12]} by {FACTS}, found {found[:12]}: it was added or changed after "
            "packing. Install the model again, or calibrate the trained folder and pack it again."
        )
