"""Signals of a scan's tissues under its protocols, drawn once for all of its sequences."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.synthesis.label_maps import NUMBER, REGIONS
from nnunet_ms.synthesis.physics import Field, Protocol, Tissue, Weighting, draw_protocol, draw_tissues, signal

WEIGHTING: Mapping[str, Weighting] = {"flair": "flair", "t2": "t2", "t1": "t1", "t1post": "t1", "pd": "pd"}
# concentrations of the agent, mmol/l, ranges: blood, and tissue without a barrier
AGENT: Mapping[str, tuple[float, float]] = {
    "blood": (0.8, 3.0),
    "choroid_plexus": (0.3, 1.2),
    "muscle": (0.05, 0.25),
    "fat": (0.0, 0.05),
}
FLOW_VOID = 0.15  # of the signal of blood under spin and inversion echo that is left in vessels
FREE_LOG_SD = 0.10  # of a tissue's signal, if contrasts are drawn freely
REGION_LOG_SD = 0.02  # of regions of one tissue against each other
SPREAD = 0.07  # of relaxation times: wider ones turn grey and white matter round
# range of the factor of the T2 of cortex in `TISSUES`: with all of it grey matter on FLAIR is 1.36 times as bright as
# white matter; on open_ms 07 and 26 and MS3SEG 101228 it is 1.19, 1.15, 1.05, with fluid in part of the voxels
CORTEX_T2 = (0.82, 1.05)
# contrasts that scans of trials have: ratios to white matter, what is outside is drawn anew
T1_GREY, T1_FLUID, T2_FLUID, FLAIR_GREY = (0.5, 0.9), (0.05, 0.72), (1.5, 9.0), (0.95, 1.45)
FLAIR_FLUID, FLAIR_LESION = (0.0, 0.35), (1.25, 3.0)
TYPICAL_LESION = (0.35, 0.3, 0.0)  # t2, t1, agent of `Signals.of_lesion`


@dataclass(frozen=True)
class Signals:
    """Signals by sequence: of each region, of white matter, and of lesions by `of_lesion`."""

    of_regions: Mapping[str, SingleFloats]
    white: Mapping[str, float]
    protocols: Mapping[str, Protocol]
    tissues: Mapping[str, Tissue]
    strength: Field

    def of_lesion(self, name: str, t2: float, t1: float, agent: float) -> float:
        """Signal of a lesion.

        Parameters
        ----------
        name : str
            Sequence.
        t2, t1 : float
            How far its T2 and water, and its T1, are on the way from white matter (0) over a lesion (1) to a black
            hole (2).
        agent : float
            Contrast agent in it after injection, mmol/l.
        """
        white, lesion, hole = (self.tissues[one] for one in ("white_matter", "lesion", "black_hole"))
        steps = (0.0, 1.0, 2.0)
        mixed = Tissue(
            float(np.interp(t1, steps, [one.t1_ms for one in (white, lesion, hole)])),
            float(np.interp(t2, steps, [one.t2_ms for one in (white, lesion, hole)])),
            float(np.interp(t2, steps, [one.proton_density for one in (white, lesion, hole)])),
        )
        if name == "t1post" and agent > 0:
            mixed = mixed.with_agent(agent, self.strength)
        scale = self.white[name] / signal(white, self.protocols[name])
        return signal(mixed, self.protocols[name]) * scale

    def told(self) -> dict[str, Any]:
        """What was drawn, for a table or a JSON file."""
        return {
            "tissues": {name: asdict(one) for name, one in self.tissues.items()},
            "protocols": {name: asdict(one) for name, one in self.protocols.items()},
        }


def draw_signals(names: Sequence[str], strength: Field, rng: np.random.Generator, *, free: bool = False) -> Signals:
    """Draw tissues, protocols and signals of the sequences of a scan, until their contrasts are those of such scans.

    Parameters
    ----------
    names : sequence of str
        Of `WEIGHTING`; `t1post` has the protocol of `t1`, if there is one, in three of four scans.
    strength : {"1.5T", "3T"}
    rng : Generator
    free : bool, optional
        Move each tissue's signal by a factor of its own, after that.
    """
    while True:
        tissues = draw_tissues(rng, strength, SPREAD)
        grey = tissues["grey_matter"]
        tissues["grey_matter"] = replace(grey, t2_ms=grey.t2_ms * float(rng.uniform(*CORTEX_T2)))
        protocols = {name: draw_protocol(WEIGHTING[name], rng, strength) for name in names}
        if "t1post" in protocols and "t1" in protocols and rng.random() < 0.75:
            protocols["t1post"] = protocols["t1"]
        found = _signals(tissues, protocols, strength, rng, FREE_LOG_SD if free else 0.0)
        if all(_is_likely(name, found) for name in names):
            return found


def _signals(
    tissues: Mapping[str, Tissue],
    protocols: Mapping[str, Protocol],
    strength: Field,
    rng: np.random.Generator,
    free_log_sd: float,
) -> Signals:
    agent = {tissue: float(rng.uniform(*bounds)) for tissue, bounds in AGENT.items()}
    of_regions = {}
    moved = {tissue: float(np.exp(rng.normal(0, free_log_sd))) for tissue in tissues}
    own = np.exp(rng.normal(0, REGION_LOG_SD, len(REGIONS)))
    for name, protocol in protocols.items():
        with_agent = agent if name == "t1post" else {}
        values = [_of_region(tissue, tissues, protocol, with_agent, strength) for _, tissue in REGIONS]
        factors = [moved.get(tissue, 1.0) for _, tissue in REGIONS]
        of_regions[name] = np.asarray(np.array(values) * own * factors, dtype=np.float32)
    white = {name: float(values[NUMBER["white_matter"]]) for name, values in of_regions.items()}
    return Signals(of_regions, white, protocols, tissues, strength)


def _is_likely(name: str, found: Signals) -> bool:
    """Whether the contrasts of a sequence are those of scans of its kind, and lesions are seen on FLAIR and T2."""
    white = found.white[name]
    grey, fluid = (float(found.of_regions[name][NUMBER[one]]) / white for one in ("grey_matter", "fluid"))
    lesion = found.of_lesion(name, *TYPICAL_LESION) / white
    weighting = WEIGHTING[name]
    if weighting == "t1":
        return T1_GREY[0] < grey < T1_GREY[1] and T1_FLUID[0] < fluid < T1_FLUID[1]
    if weighting == "flair":
        bright = FLAIR_LESION[0] < lesion < FLAIR_LESION[1] and lesion > 1.12 * grey
        return FLAIR_GREY[0] < grey < FLAIR_GREY[1] and FLAIR_FLUID[0] <= fluid < FLAIR_FLUID[1] and bright
    return weighting == "pd" or (T2_FLUID[0] < fluid < T2_FLUID[1] and lesion > 1.15)


def _of_region(
    tissue: str, tissues: Mapping[str, Tissue], protocol: Protocol, agent: Mapping[str, float], strength: Field
) -> float:
    if not tissue:
        return 0.0
    its = tissues[tissue]
    if agent.get(tissue, 0) > 0:
        its = its.with_agent(agent[tissue], strength)
    found = signal(its, protocol)
    is_void = tissue == "blood" and protocol.technique != "gradient_echo" and not agent
    return found * FLOW_VOID if is_void else found
