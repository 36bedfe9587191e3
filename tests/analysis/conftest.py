import pytest


@pytest.fixture
def no_figures(monkeypatch):
    """Skip drawing, which is most of a small evaluation's time; an empty file stands for each figure."""

    def save(_, folder, stem):
        for suffix in ("svg", "png"):
            (folder / f"{stem}.{suffix}").touch()

    groups = ("size_group_figure", "visit_figure", "site_figure", "location_figure")
    for name in ("size_bin_figure", "concordance_figure", *groups):
        monkeypatch.setattr(f"nnunet_ms.analysis.evaluation.evaluate.{name}", lambda *_: None)
    monkeypatch.setattr("nnunet_ms.analysis.evaluation.evaluate.save_figure", save)
