"""What the paper prints, against its abstract."""

import pytest

from nnunet_ms.learning.published import published_mean, published_p, published_se


@pytest.mark.parametrize(
    ("task", "size", "sensitivity", "ppv"),
    [  # Wahlig et al., abstract: fine-tuned, then de novo
        ("flair", 10, (0.55, 0.49), (0.66, 0.32)),
        ("new", 30, (0.49, 0.51), (0.60, 0.43)),
        ("enhancing", 20, (0.74, 0.44), (0.69, 0.37)),
    ],
)
def test_the_numbers_of_the_abstract(task, size, sensitivity, ppv):
    for metric, values in {"sensitivity": sensitivity, "ppv": ppv}.items():
        assert tuple(published_mean(task, metric, arm, size) for arm in ("FT", "DN")) == values


def test_what_the_paper_does_not_have_is_blank():
    assert published_mean("enhancing", "ppv", "FT", 40) is None
    assert published_mean("new", "ppv", "grader", None) is None
    assert published_p("flair", "ppv", 20) == ""


@pytest.mark.parametrize(
    ("task", "size", "sensitivity", "ppv"),
    [  # abstract: standard errors, fine-tuned, then de novo
        ("flair", 10, (0.02, 0.02), (0.02, 0.02)),
        ("new", 30, (0.05, 0.04), (0.05, 0.04)),
        ("enhancing", 20, (0.06, 0.09), (0.05, 0.05)),
    ],
)
def test_the_standard_errors_of_the_abstract(task, size, sensitivity, ppv):
    for metric, values in {"sensitivity": sensitivity, "ppv": ppv}.items():
        assert tuple(published_se(task, metric, arm, size) for arm in ("FT", "DN")) == values
    assert published_se(task, "ppv", "FT", 40) is None


@pytest.mark.parametrize("task", ["flair", "new", "enhancing"])
def test_the_papers_finding_is_in_its_numbers(task):
    # "the advantage of fine-tuning is PPV, at every size": FT above DN everywhere
    sizes = [10, 20, 30] if task == "enhancing" else [10, 20, 30, 40, 50]
    assert all(published_mean(task, "ppv", "FT", n) > published_mean(task, "ppv", "DN", n) for n in sizes)
