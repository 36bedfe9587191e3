"""Fixtures for all tests: the shared real data and oracles, and small images made in memory."""

import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# the same examples in every run, and nothing that depends on how busy the machine is
settings.register_profile(
    "here", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("here")


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data and oracles; skips without it, but in CI its absence is a failure."""
    if not SHARED.is_dir():
        message = f"{SHARED} is absent: it holds the real scans and the reference values of this test"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return SHARED


@pytest.fixture(scope="session")
def shared_data(shared: Path) -> Path:
    return shared / "data"


@pytest.fixture
def write_nifti(tmp_path: Path) -> Callable[..., Path]:
    """Write an array as NIfTI below tmp_path; spacing in mm, default affine diagonal."""

    def write(name, data, spacing=(1.0, 1.0, 3.0), affine=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, np.diag([*spacing, 1.0]) if affine is None else affine), path)
        return path

    return write
