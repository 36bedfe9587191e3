"""The latent oversampling layer: counts of the paper and of the released code, and where its points lie."""

import numpy as np
import pytest
import torch

from nnunet_ms.classification.rim.oversampling import LatentOversampling, interpolants
from nnunet_ms.errors import OptionError


def batch(n_rows=16, n_rim=5, features=6):
    torch.manual_seed(0)
    labels = torch.zeros(n_rows)
    labels[torch.randperm(n_rows)[:n_rim]] = 1
    return torch.randn(n_rows, features), labels


def rows_after(n_rim, n_rows=16, **options):
    layer = LatentOversampling(6, 4, **options)
    latent, labels = layer(*batch(n_rows, n_rim))
    return len(latent), int(labels.sum())


@pytest.mark.parametrize(
    ("n_rim", "options", "rows"),
    [
        (5, {}, (26, 15)),  # the paper: N + 2 n
        (5, {"include_self": True}, (31, 20)),  # a run of the released code: N + 3 n
        (3, {}, (22, 9)),
        (2, {}, (16, 2)),  # the released code: more than two
        (2, {"include_self": True}, (16, 2)),
        (0, {}, (16, 0)),
        (5, {"neighbours": 4}, (36, 25)),
        (4, {"neighbours": 4}, (16, 4)),
        (16, {}, (48, 48)),
        (5, {"active": False}, (16, 5)),
    ],
)
def test_rows_of_a_batch_in_training(n_rim, options, rows):
    assert rows_after(n_rim, **options) == rows


def test_the_lesions_come_first_and_all_further_rows_are_rim():
    layer, (lesions, labels) = LatentOversampling(6, 4), batch()
    latent, after = layer(lesions, labels)
    assert torch.equal(after[:16], labels)
    assert torch.equal(after[16:], torch.ones(10))
    torch.testing.assert_close(latent[:16], layer.dense(lesions))


def test_outside_of_training_it_is_the_dense_layers_alone():
    layer, (lesions, labels) = LatentOversampling(6, 4).eval(), batch()
    latent, after = layer(lesions, labels)
    assert torch.equal(latent, layer.dense(lesions))
    assert torch.equal(after, labels)


@pytest.mark.parametrize("include_self", [False, True])
@pytest.mark.parametrize("n", [3, 5, 12])
def test_points_lie_on_the_segments_to_the_nearest_others(n, include_self):
    # Oracle: the definition, in NumPy and one pair at a time.
    torch.manual_seed(n)
    points = torch.randn(n, 8, dtype=torch.float64)
    new = interpolants(points, 2, include_self=include_self).numpy()
    plain, row = points.numpy(), 0
    for i in range(n):
        distance = np.linalg.norm(plain - plain[i], axis=1)
        nearest = [j for j in np.argsort(distance) if j != i][:2]
        for j in [i, *nearest] if include_self else nearest:
            way, step = plain[j] - plain[i], new[row] - plain[i]
            u = step @ way / (way @ way) if i != j else 0.0
            assert 0 <= u <= 1
            assert np.abs(step - u * way).max() < 1e-6  # one u for all dimensions
            row += 1
    assert row == len(new)


def test_two_lesions_in_one_place_are_each_others_neighbours():
    points = torch.tensor([[0.0, 0.0], [0.0, 0.0], [9.0, 9.0]])
    new = interpolants(points, 1)
    assert torch.equal(new[:2], points[:2])


def test_each_pair_has_a_place_of_its_own_between_0_and_1():
    torch.manual_seed(0)
    line = torch.arange(400.0, dtype=torch.float64)[:, None]
    u = (interpolants(line, 1)[:, 0] - line[:, 0]).abs().numpy()  # neighbours are 1 apart
    assert len(np.unique(u)) == 400
    assert u.mean() == pytest.approx(0.5, abs=4 * 0.2887 / 20)  # four standard errors of a uniform variable's mean
    assert u.std() == pytest.approx(0.2887, abs=0.04)


def test_the_gradient_of_a_point_reaches_both_parents_and_no_other():
    torch.manual_seed(1)
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [10.0, 0.0], [11.0, 0.0]], requires_grad=True)
    interpolants(points, 1)[0].sum().backward()  # between the first two
    weight = points.grad[:, 0]
    assert (weight[:2] > 0).all()
    assert weight[:2].sum().item() == pytest.approx(1)
    assert torch.equal(weight[2:], torch.zeros(2))


def test_gradients_of_synthetic_rows_reach_the_dense_layers():
    layer = LatentOversampling(6, 4)
    latent, _ = layer(*batch())
    latent[16:].sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in layer.parameters() if weight.ndim == 2)


def test_the_order_of_the_lesions_changes_nothing_but_the_draw():
    # In distribution: means of the synthetic rows over draws agree, whatever the order of the batch.
    points = batch(n_rows=5, n_rim=0, features=3)[0].double()
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.manual_seed(2)
    draws = [torch.stack([interpolants(p) for _ in range(2000)]).mean(0) for p in (points, points[order])]
    means = [mean.reshape(5, 2, 3).sum(1) for mean in draws]
    torch.testing.assert_close(means[1], means[0][order], atol=0.15, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 0}, "neighbours: expected a whole number >= 1, found 0"),
        ({"include_self": "no"}, "include_self: expected True or False, found 'no'"),
        ({"active": 1}, "active: expected True or False, found 1"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(OptionError, match=message):
        LatentOversampling(6, 4, **options)
