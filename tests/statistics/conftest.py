"""Where R's values for the statistics stand: small simulated tables, in the repository, so that they always protect."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def oracle_folder() -> Path:
    """Tables of a simulated trial and R's values for them; `simulate_tables.py` and `oracles.R` made them."""
    return Path(__file__).parent / "oracles"
