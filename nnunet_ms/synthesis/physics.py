"""Signal of tissues under spin echo, inversion recovery and spoiled gradient echo, and protocols drawn at random.

Signals are magnitudes in units of the equilibrium magnetisation of water. Relaxation times of white and grey matter at
3 T are those of Wansapura et al. 1999 [1]_, of blood and muscle those of Stanisz et al. 2005 [2]_; the others are round
numbers within what is published, and are ours. Every time is drawn anew for a scan (`spread`), because published ones
differ by more than that [3]_.

References
----------
.. [1] Wansapura JP et al. NMR relaxation times in the human brain at 3.0 tesla. J Magn Reson Imaging 9:531-538, 1999.
.. [2] Stanisz GJ et al. T1, T2 relaxation and magnetization transfer in tissue at 3T. Magn Reson Med 54:507-512, 2005.
   doi:10.1002/mrm.20605
.. [3] Asslander J. Magnetization transfer explains most of the T1 variability in the MRI literature. arXiv:2409.05318
.. [4] Haacke EM et al. Magnetic Resonance Imaging: Physical Principles and Sequence Design. Wiley, 1999.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from nnunet_ms.errors import OptionError
from nnunet_ms.options import chosen

Technique = Literal["spin_echo", "inversion_recovery", "gradient_echo"]
Weighting = Literal["t1", "t2", "flair", "pd"]
Field = Literal["1.5T", "3T"]
Range = tuple[float, float]

# longitudinal relaxivity of gadolinium chelates, per second and mmol/l; a round number of Rohrer et al., Invest Radiol
# 40:715-724, 2005
RELAXIVITY: Mapping[str, float] = {"1.5T": 4.5, "3T": 4.0}


@dataclass(frozen=True)
class Tissue:
    """What the signal depends on.

    Attributes
    ----------
    t1_ms, t2_ms : float
        Relaxation times.
    proton_density : float
        Share of the water of cerebrospinal fluid.
    """

    t1_ms: float
    t2_ms: float
    proton_density: float

    def __post_init__(self) -> None:
        if not (self.t1_ms > 0 and self.t2_ms > 0 and 0 < self.proton_density <= 1):
            raise OptionError(
                f"tissue: expected times above 0 ms and a proton density above 0, at most 1, found {self}. Correct it."
            )

    def with_agent(self, mmol_per_l: float, field: Field = "3T") -> "Tissue":
        """The tissue with a contrast agent in it: 1/T1 grows by relaxivity times concentration; T2 is left alone.

        Examples
        --------
        >>> round(TISSUES["3T"]["blood"].with_agent(1.0).t1_ms)
        221
        """
        rate = 1 / self.t1_ms + RELAXIVITY[chosen(field, get_args(Field), "field")] * mmol_per_l / 1000
        return replace(self, t1_ms=1 / rate)


TISSUES: Mapping[str, Mapping[str, Tissue]] = {
    "1.5T": {
        "white_matter": Tissue(650, 80, 0.70),
        "grey_matter": Tissue(1050, 105, 0.82),
        "deep_grey_matter": Tissue(850, 80, 0.80),
        "fluid": Tissue(4000, 2000, 1.0),
        "lesion": Tissue(1050, 180, 0.85),
        "black_hole": Tissue(1800, 250, 0.90),
        "blood": Tissue(1441, 290, 0.90),  # [2]
        "choroid_plexus": Tissue(1500, 150, 0.90),
        "fat": Tissue(300, 60, 0.90),
        "muscle": Tissue(1008, 44, 0.80),  # [2], skeletal
        "bone": Tissue(300, 2, 0.10),
    },
    "3T": {
        "white_matter": Tissue(832, 80, 0.70),  # [1]
        "grey_matter": Tissue(1331, 110, 0.82),  # [1]
        "deep_grey_matter": Tissue(1100, 75, 0.80),
        "fluid": Tissue(4300, 2000, 1.0),
        "lesion": Tissue(1350, 170, 0.85),
        "black_hole": Tissue(2000, 250, 0.90),
        "blood": Tissue(1932, 275, 0.90),  # [2]
        "choroid_plexus": Tissue(1900, 150, 0.90),
        "fat": Tissue(370, 60, 0.90),
        "muscle": Tissue(1412, 50, 0.80),  # [2], skeletal
        "bone": Tissue(300, 2, 0.10),
    },
}


@dataclass(frozen=True)
class Protocol:
    """How a scan is made; `ti_ms` of inversion recovery and `flip_degrees` of gradient echo are 0 for the others."""

    technique: Technique
    tr_ms: float
    te_ms: float
    ti_ms: float = 0.0
    flip_degrees: float = 90.0

    def __post_init__(self) -> None:
        chosen(self.technique, get_args(Technique), "technique")
        is_inverted = self.technique == "inversion_recovery"
        if not (0 < self.te_ms < self.tr_ms and (not is_inverted or 0 < self.ti_ms < self.tr_ms)):
            raise OptionError(
                f"protocol: expected 0 < TE < TR, and 0 < TI < TR of inversion recovery, found {self}. Correct it."
            )
        if not 0 < self.flip_degrees <= 180:
            raise OptionError(
                f"protocol: expected a flip angle above 0, at most 180 degrees, found {self}. Correct it."
            )


def signal(tissue: Tissue, protocol: Protocol) -> float:
    """Magnitude of the signal of a tissue.

    Parameters
    ----------
    tissue : Tissue
    protocol : Protocol

    Returns
    -------
    float
        Share of the equilibrium magnetisation of water, 0 to 1.

    Notes
    -----
    Spin echo: ``PD (1 - exp(-TR/T1)) exp(-TE/T2)``; inversion recovery: ``PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)|
    exp(-TE/T2)``, of an echo that is short against TR; spoiled gradient echo: ``PD sin(a) (1 - E) / (1 - E cos(a))
    exp(-TE/T2)`` with ``E = exp(-TR/T1)``, T2 in the place of T2*, which at a TE of a few ms changes little
    ([4]_, ch. 8 and 18).

    Examples
    --------
    >>> flair = Protocol("inversion_recovery", tr_ms=9000, te_ms=120, ti_ms=2500)
    >>> [round(signal(TISSUES["3T"][name], flair), 3) for name in ("white_matter", "lesion", "fluid")]
    [0.141, 0.288, 0.005]
    """
    decay = tissue.proton_density * math.exp(-protocol.te_ms / tissue.t2_ms)
    recovered = math.exp(-protocol.tr_ms / tissue.t1_ms)
    if protocol.technique == "spin_echo":
        return decay * (1 - recovered)
    if protocol.technique == "inversion_recovery":
        return decay * abs(1 - 2 * math.exp(-protocol.ti_ms / tissue.t1_ms) + recovered)
    angle = math.radians(protocol.flip_degrees)
    return decay * math.sin(angle) * (1 - recovered) / (1 - recovered * math.cos(angle))


@dataclass(frozen=True)
class _Drawn:
    """Ranges that a protocol is drawn from; `nulls_fluid` sets TI from TR and the T1 of fluid."""

    technique: Technique
    tr_ms: Range
    te_ms: Range
    flip_degrees: Range = (90.0, 90.0)
    nulls_fluid: bool = False


# as protocols of MS trials have them, 1.5 and 3 T, 2-D and 3-D; ours
_RANGES: Mapping[str, tuple[_Drawn, ...]] = {
    "t1": (
        _Drawn("spin_echo", (450, 750), (8, 20)),
        _Drawn("gradient_echo", (6, 35), (2, 10), (8, 40)),
    ),
    "t2": (_Drawn("spin_echo", (3500, 7000), (70, 120)),),
    "pd": (_Drawn("spin_echo", (2000, 5000), (10, 30)),),
    "flair": (_Drawn("inversion_recovery", (5000, 11000), (80, 150), nulls_fluid=True),),
}
NULLING = (0.90, 1.06)  # of the inversion time at which fluid gives no signal: scanners are set a little off


def draw_protocol(weighting: Weighting, rng: np.random.Generator, field: Field = "3T") -> Protocol:
    """Draw a protocol of a weighting, as trials have them.

    Parameters
    ----------
    weighting : {"t1", "t2", "flair", "pd"}
    rng : Generator
    field : {"1.5T", "3T"}, optional
        For the inversion time that nulls fluid.

    Raises
    ------
    OptionError
        If the weighting or the field strength is another word.

    Examples
    --------
    >>> protocol = draw_protocol("flair", np.random.default_rng(0))
    >>> protocol.technique, 5000 < protocol.tr_ms < 11000
    ('inversion_recovery', True)
    """
    several = _RANGES[chosen(weighting, get_args(Weighting), "weighting")]
    ranges = several[int(rng.integers(len(several)))]
    tr_ms = float(rng.uniform(*ranges.tr_ms))
    te_ms = float(rng.uniform(ranges.te_ms[0], min(ranges.te_ms[1], 0.8 * tr_ms)))
    flip = float(rng.uniform(*ranges.flip_degrees))
    ti_ms = 0.0
    if ranges.nulls_fluid:
        fluid = TISSUES[chosen(field, get_args(Field), "field")]["fluid"]
        ti_ms = nulling_time(fluid, tr_ms) * float(rng.uniform(*NULLING))
    return Protocol(ranges.technique, tr_ms, te_ms, ti_ms, flip)


def nulling_time(tissue: Tissue, tr_ms: float) -> float:
    """Inversion time (ms) at which a tissue gives no signal: ``T1 (ln 2 - ln(1 + exp(-TR/T1)))``.

    Examples
    --------
    >>> fluid = TISSUES["3T"]["fluid"]
    >>> at = nulling_time(fluid, 9000)
    >>> round(signal(fluid, Protocol("inversion_recovery", 9000, 100, at)), 12)
    0.0
    """
    return tissue.t1_ms * (math.log(2) - math.log1p(math.exp(-tr_ms / tissue.t1_ms)))


def draw_tissues(rng: np.random.Generator, field: Field = "3T", spread: float = 0.12) -> dict[str, Tissue]:
    """Tissues of one person and scanner: every time by a factor of its own, log-normal.

    Parameters
    ----------
    rng : Generator
    field : {"1.5T", "3T"}, optional
    spread : float, optional
        Standard deviation of the logarithm of each factor, >= 0.

    Raises
    ------
    OptionError
        If the field is another word, or the spread is negative or no number.

    Examples
    --------
    >>> drawn = draw_tissues(np.random.default_rng(0))
    >>> sorted(drawn) == sorted(TISSUES["3T"])
    True
    """
    if not 0 <= spread < 1:
        raise OptionError(f"spread: expected a number from 0 to below 1, found {spread!r}. 0.12 is usual.")
    known = TISSUES[chosen(field, get_args(Field), "field")]
    factors = {name: np.exp(rng.normal(0, spread, 2)) for name in known}
    return {
        name: replace(one, t1_ms=one.t1_ms * float(factors[name][0]), t2_ms=one.t2_ms * float(factors[name][1]))
        for name, one in known.items()
    }
