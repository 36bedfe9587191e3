"""Oracle: R's `glm` on person-period data, with logit and complementary log-log links; see `discrete_hazards.R`."""

import numpy as np
import pytest
import scipy.special
import torch

from nnunet_ms.classification.stratification.hazards import (
    begin_at,
    hazard_loss,
    hazard_scores,
    hazards_of,
    overall_hazards,
)
from nnunet_ms.classification.stratification.survival_intervals import person_periods
from nnunet_ms.errors import ModelError
from tests.statistics.hazard_oracle import EDGES, column, hazards, log_likelihood

TARGETS = person_periods(column("time"), column("event"), EDGES)


@pytest.mark.parametrize("link", ["logit", "cloglog"])
def test_loss_is_the_likelihood_of_rs_regression(link):
    logits = scipy.special.logit(np.clip(hazards(link), 1e-15, 1 - 1e-15))
    loss = hazard_loss(torch.from_numpy(logits), torch.from_numpy(TARGETS).double())
    assert -loss.item() * len(TARGETS) == pytest.approx(log_likelihood(link), abs=1e-6)
    assert hazard_scores(logits, TARGETS)["log_likelihood"] == pytest.approx(-loss.item(), rel=1e-9)


def test_no_other_hazards_are_likelier_than_rs():
    logits = torch.from_numpy(scipy.special.logit(np.clip(hazards("logit"), 1e-15, 1 - 1e-15)))
    best = hazard_loss(logits, torch.from_numpy(TARGETS).double()).item()
    for change in (0.05, -0.05):
        assert hazard_loss(logits + change, torch.from_numpy(TARGETS).double()).item() > best


def test_loss_is_the_definition_for_one_patient_at_a_time():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(len(TARGETS), 4))
    h = hazards_of(logits)
    for i, row in enumerate(TARGETS):
        survived, progressed = np.flatnonzero(row[:4]), np.flatnonzero(row[4:])
        likelihood = np.prod(1 - h[i, survived]) * np.prod(h[i, progressed])
        one = hazard_loss(torch.from_numpy(logits[i : i + 1]), torch.from_numpy(row[None]).double())
        assert one.item() == pytest.approx(-np.log(likelihood), rel=1e-9)


def test_unknown_intervals_have_no_gradient():
    logits = torch.zeros(1, 3, requires_grad=True)
    hazard_loss(logits, torch.tensor([[1.0, 0, 0, 0, 1, 0]])).backward()
    assert logits.grad[0].tolist() == pytest.approx([0.5, -0.5, 0.0])


def test_training_begins_at_the_hazards_of_everybody():
    expected = overall_hazards(TARGETS)
    network = begin_at(torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4)), expected)
    with torch.no_grad():
        assert torch.sigmoid(network[2].bias).numpy() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "network", [torch.nn.Linear(3, 1), torch.nn.Conv3d(1, 1, 1), torch.nn.Linear(3, 4, bias=False)]
)
def test_a_network_with_other_outputs_is_refused(network):
    with pytest.raises(ModelError, match="expected a last linear layer with 4 outputs"):
        begin_at(network, np.full(4, 0.1))
