from html.parser import HTMLParser

import pytest

from nnunet_ms.analysis.endpoint_files import run_trial
from nnunet_ms.tables import ENDPOINTS, read_table
from tests.analysis.synthetic_trial import SETTINGS, patients, write_trial

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects tags, texts and attributes; fails on a tag that is closed out of order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data.strip())

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def page(tmp_path, settings=SETTINGS, **changed):
    out = tmp_path / "out"
    run_trial(write_trial(tmp_path / "in", settings, **changed), out)
    return Page((out / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The synthetic trial, run once."""
    folder = tmp_path_factory.mktemp("report")
    page(folder)
    return folder / "out"


@pytest.fixture
def found(folder):
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_page_is_self_contained_and_described(folder, found):
    images = found.named("img")
    # flow and completeness, two of T2 volume, three of CDP24 (no halves: p is not below .1), four of the raters
    assert len(images) == 11
    for image in images:
        assert image["src"].startswith("data:image/svg+xml;base64,")
        assert image["alt"].strip()
    assert not {"script", "link", "iframe", "object"} & {name for name, _ in found.tags}
    for _, attrs in found.tags:
        for key in ("src", "href"):
            assert not (attrs.get(key) or "").startswith(("http", "//", "file"))
    anchors = {attrs["href"][1:] for attrs in found.named("a")}
    assert anchors <= {attrs.get("id") for _, attrs in found.tags}
    assert found.named("html")[0]["lang"] == "en"
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "url(" not in text
    assert "@import" not in text


def test_every_block_says_that_data_are_simulated(tmp_path, found):
    assert found.texts.count("simulated data") == len(found.named("section")) == 9
    real = SETTINGS.replace("simulated = true", "simulated = false").replace('truth = "truth.json"\n', "")
    text = " ".join(page(tmp_path / "real", real).texts).lower()
    assert "simulated" not in text


def test_numbers_are_those_of_endpoints_csv(folder, found):
    rows = read_table(folder / "endpoints.csv", ENDPOINTS)
    chosen = rows[(rows["analysis"] == "cox_univariable") & (rows["rater"] == "model")].set_index("stat_name")["stat"]
    assert f"{chosen['hazard_ratio']:.2f} ({chosen['low']:.2f} to {chosen['high']:.2f})" in found.texts
    assert "−12.5" in found.texts  # the simulated truth of the separation and of the ANCOVA difference
    assert ".695 ± .148" in found.texts  # published agreement of OPERA II
    assert "0.970" in found.texts  # r volume of agreement.csv


def test_published_numbers_only_where_a_preset_names_the_trial(tmp_path):
    found = page(tmp_path, SETTINGS.replace('preset = "opera2"\n', ""))
    assert "published" not in " ".join(found.texts).lower()


def test_strings_from_the_data_are_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    table = patients()
    table["arm"] = table["arm"].replace("active", evil)
    settings = SETTINGS.replace('["active"]', f'["{evil}"]').replace("Synthetic trial", evil)
    found = page(tmp_path, settings, patients=table)
    assert not found.named("script")
    assert evil in found.texts


def test_formulas_in_names_do_not_run_in_a_spreadsheet(tmp_path):
    table = patients()
    table["arm"] = table["arm"].replace("active", "=1+1")
    page(tmp_path, SETTINGS.replace('["active"]', '["=1+1"]'), patients=table)
    for path in (tmp_path / "out").rglob("*.csv"):
        assert ",=1+1" not in path.read_text(encoding="utf-8"), path


def test_figure_of_evaluate_is_embedded(tmp_path):
    import matplotlib.figure

    (tmp_path / "in").mkdir()
    matplotlib.figure.Figure().savefig(tmp_path / "in" / "size.png")
    found = page(tmp_path, SETTINGS.replace("[arms]", 'size_bin_figure = "size.png"\n[arms]'))
    assert [i["src"][:22] for i in found.named("img")].count("data:image/png;base64,") == 1


def test_exclusions_are_listed_with_reasons(tmp_path):
    table = patients(61)
    found = page(tmp_path, patients=table)
    assert "in the patient table, but has no mask" in found.texts
    assert "P060" in found.texts
