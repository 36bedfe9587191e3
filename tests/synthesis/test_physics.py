"""Signal equations against a simulation of the Bloch equations, and contrasts that every radiologist knows."""

import math

import numpy as np
import pytest

from nnunet_ms.errors import OptionError
from nnunet_ms.synthesis.physics import (
    TISSUES,
    Protocol,
    Tissue,
    draw_protocol,
    draw_tissues,
    nulling_time,
    signal,
)

FIELDS = ("1.5T", "3T")


def relaxed(mz, ms, tissue):
    """Longitudinal magnetisation after `ms` without pulses."""
    return 1 + (mz - 1) * math.exp(-ms / tissue.t1_ms)


def steady_state(tissue, protocol):
    """Signal by going through pulse after pulse until nothing changes; what is transverse is spoiled each time."""
    mz = 1.0
    for _ in range(int(25 * tissue.t1_ms / protocol.tr_ms) + 5):
        if protocol.technique == "inversion_recovery":
            mz = relaxed(-mz, protocol.ti_ms, tissue)
            measured, mz = mz, relaxed(0.0, protocol.tr_ms - protocol.ti_ms, tissue)
        else:
            angle = math.radians(90 if protocol.technique == "spin_echo" else protocol.flip_degrees)
            measured, mz = mz * math.sin(angle), relaxed(mz * math.cos(angle), protocol.tr_ms, tissue)
    return tissue.proton_density * abs(measured) * math.exp(-protocol.te_ms / tissue.t2_ms)


@pytest.mark.parametrize("weighting", ["t1", "t2", "flair", "pd"])
@pytest.mark.parametrize("field", FIELDS)
def test_equations_are_the_steady_state_of_the_pulses(weighting, field):
    rng = np.random.default_rng(0)
    for _ in range(10):
        protocol = draw_protocol(weighting, rng, field)
        for tissue in draw_tissues(rng, field).values():
            assert signal(tissue, protocol) == pytest.approx(steady_state(tissue, protocol), abs=1e-9)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    ("weighting", "order"),
    [
        ("flair", ("lesion", "grey_matter", "white_matter", "fluid")),
        ("t2", ("fluid", "lesion", "grey_matter", "white_matter")),
        ("t1", ("white_matter", "grey_matter", "fluid")),
    ],
)
def test_tissues_have_the_order_of_their_contrast(weighting, order, field):
    """In at least 95 of 100 protocols, with the tissues of a table."""
    rng = np.random.default_rng(1)
    right = 0
    for _ in range(100):
        protocol = draw_protocol(weighting, rng, field)
        values = [signal(TISSUES[field][name], protocol) for name in order]
        right += values == sorted(values, reverse=True)
    assert right >= 95


@pytest.mark.parametrize("field", FIELDS)
def test_contrast_agent_makes_vessels_and_enhancing_lesions_bright_on_t1(field):
    rng = np.random.default_rng(2)
    for _ in range(50):
        protocol = draw_protocol("t1", rng, field)
        white = signal(TISSUES[field]["white_matter"], protocol)
        for name in ("lesion", "blood", "choroid_plexus"):
            plain = TISSUES[field][name]
            assert signal(plain.with_agent(2.0, field), protocol) > signal(plain, protocol)
            assert signal(plain.with_agent(2.0, field), protocol) > white


def test_no_agent_changes_nothing_and_much_takes_t1_to_its_limit():
    tissue = TISSUES["3T"]["lesion"]
    assert tissue.with_agent(0.0) == tissue
    assert tissue.with_agent(1000.0).t1_ms == pytest.approx(0.25, rel=0.01)


@pytest.mark.parametrize("tr_ms", [3000.0, 9000.0, 1e6])
def test_nulling_time_is_the_zero_of_the_signal(tr_ms):
    fluid = TISSUES["3T"]["fluid"]
    at = nulling_time(fluid, tr_ms)
    assert signal(fluid, Protocol("inversion_recovery", tr_ms, 10, at)) < 1e-9
    if tr_ms == 1e6:
        assert at == pytest.approx(fluid.t1_ms * math.log(2))


def test_a_seed_gives_the_same_scan_and_no_spread_the_table():
    one, other = (draw_tissues(np.random.default_rng(3)) for _ in range(2))
    assert one == other
    assert draw_tissues(np.random.default_rng(3), "1.5T", spread=0.0) == TISSUES["1.5T"]
    assert draw_protocol("t1", np.random.default_rng(3)) == draw_protocol("t1", np.random.default_rng(3))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Tissue(0, 50, 0.5), "times above 0"),
        (lambda: Tissue(900, float("nan"), 0.5), "times above 0"),
        (lambda: Tissue(900, 50, 1.5), "proton density"),
        (lambda: Protocol("spin_echo", 500, 600), "TE < TR"),
        (lambda: Protocol("inversion_recovery", 9000, 100, 0), "TI < TR"),
        (lambda: Protocol("gradient_echo", 10, 3, flip_degrees=0), "flip angle"),
        (lambda: Protocol("mprage", 10, 3), "technique: expected one of"),
        (lambda: draw_protocol("t2star", np.random.default_rng(0)), "weighting: expected one of"),
        (
            lambda: (
                draw_protocol("t1", np.random.default_rng(0), "7T") and draw_tissues(np.random.default_rng(0), "7T")
            ),
            "field: expected one of",
        ),
        (lambda: draw_tissues(np.random.default_rng(0), spread=-0.1), "spread: expected"),
        (lambda: TISSUES["3T"]["blood"].with_agent(1.0, "7T"), "field: expected one of"),
    ],
)
def test_what_cannot_be(make, match):
    with pytest.raises(OptionError, match=match):
        make()
