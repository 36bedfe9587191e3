"""The simulated cohort of rims on QSM: every number of it, and where it comes from."""

from dataclasses import dataclass, field

from nnunet_ms.simulation.model.presets import LesionSizes


@dataclass(frozen=True)
class RimScan:
    """Acquisition and inversion; ours, after usual gradient-echo protocols at 3 T.

    `slab_mm` is the height of what is scanned, around `slab_middle_mm` (MNI z); lesions begin `clear_mm` from its ends.
    """

    spacing_mm: tuple[float, float, float] = (0.75, 0.75, 3.0)  # 24 mm are then 32 x 32 x 8 voxels
    slab_mm: float = 48.0
    slab_middle_mm: float = 22.0
    clear_mm: float = 9.0
    field_tesla: float = 3.0
    echo_s: float = 0.02
    phase_noise: float = 0.08  # SD in radians at that echo, in white matter
    tilt_sd_degrees: float = 6.0  # of the main field against the slices' normal, about both axes
    regularisation: float = 0.02  # of the closed-form inversion: weight of the map's gradient


@dataclass(frozen=True)
class LesionKind:
    """One kind of rim- lesion: its share of them, and how far it lies above white matter, in ppb, from low to high."""

    share: float
    low_ppb: float
    high_ppb: float


def _kinds() -> dict[str, LesionKind]:
    return {
        "bright": LesionKind(0.5, 40.0, 110.0),  # uniformly: the hard negatives
        "iso": LesionKind(0.35, -10.0, 20.0),
        "dark": LesionKind(0.15, -30.0, -15.0),
    }


@dataclass(frozen=True)
class RimLesions:
    """Lesions of the cohort.

    Numbers per patient are negative binomial; the share of rims is 177 of 4163 (Zhang et al., NeuroImage Clin
    2022;34:102979); it differs between patients (gamma of shape `rim_shape`), so that about half have none. Rims are
    of lesions of at least `rim_smallest_mm3`: a smaller one has no room for core and rim. The rest is ours.
    """

    mean_count: float = 25.0
    count_dispersion: float = 0.15
    sizes: LesionSizes = field(default_factory=lambda: LesionSizes(180.0, 0.8, 2500.0, 30))
    rim_share: float = 177 / 4163
    rim_shape: float = 1.0
    rim_smallest_mm3: float = 150.0
    rim_low_ppb: float = 50.0  # of the rim above its lesion's core
    rim_high_ppb: float = 100.0
    rim_mm: tuple[float, float] = (0.7, 1.1)  # half-width, just inside the border
    rim_whole: float = 0.4  # share of rims that are closed; the others cover from `rim_cover` on of their lesion
    rim_cover: float = 0.6
    core_ppb: tuple[float, float] = (0.0, 40.0)  # of rim+ lesions above white matter
    kinds: dict[str, LesionKind] = field(default_factory=_kinds)
    uneven_ppb: float = 12.0  # SD of smooth unevenness inside every lesion, 2 mm wide
    penumbra_mm: tuple[float, float] = (0.0, 1.6)  # by which FLAIR shows a lesion larger than QSM does
    reader_mm: float = 0.3  # SD of the border that a reader draws


@dataclass(frozen=True)
class Veins:
    """Veins: tubes of `ppb` above tissue; `per_brain` free ones, others in or beside lesions."""

    per_brain: int = 90
    central_share: float = 0.35  # of the lesions have one through their centre
    edge_share: float = 0.12  # have one along their border, which looks like a part of a rim
    low_ppb: float = 200.0
    high_ppb: float = 400.0
    radius_mm: tuple[float, float] = (0.3, 0.7)
    length_mm: tuple[float, float] = (10.0, 35.0)


RIM_SCAN = RimScan()
RIM_LESIONS = RimLesions()
VEINS = Veins()
