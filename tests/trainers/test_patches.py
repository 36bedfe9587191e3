import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ms.trainers.patches import (
    ANISOTROPIC_STRIDES,
    ISOTROPIC_STRIDES,
    clip_to_shape,
    divisors,
    shrink_until,
    strides_for,
)


@pytest.mark.parametrize(
    ("spacing", "strides"),
    [((3, 1, 1), ANISOTROPIC_STRIDES), ((1, 1, 1), ISOTROPIC_STRIDES), ((6.5, 0.9, 0.9), ANISOTROPIC_STRIDES)],
)
def test_strides_follow_the_spacing(spacing, strides):
    assert strides_for(spacing) == strides


def test_divisors():
    assert divisors(ANISOTROPIC_STRIDES) == (4, 8, 8)
    assert divisors(ISOTROPIC_STRIDES) == (8, 8, 8)


edges = st.tuples(*[st.integers(1, 400)] * 3)


@given(shape=edges, limit=st.integers(1000, 10**6), spacing=st.tuples(*[st.floats(0.3, 8)] * 3))
def test_patches_stay_whole_and_within_the_image_and_the_limit(shape, limit, spacing):
    divisor = (4, 8, 8)
    clipped = clip_to_shape((32, 96, 96), shape, divisor)
    assert all(p % d == 0 and 0 < p < n + d for p, n, d in zip(clipped, shape, divisor, strict=True))
    small = shrink_until(lambda p: p[0] * p[1] * p[2] <= limit, clipped, spacing, divisor)
    assert all(s % d == 0 and 0 < s <= p for s, p, d in zip(small, clipped, divisor, strict=True))
    smallest = all(s <= 2 * d for s, d in zip(small, divisor, strict=True))
    assert small[0] * small[1] * small[2] <= limit or smallest
