import itertools
from html.parser import HTMLParser

import pytest

from nnunet_ms.analysis.run_trial import run_trial
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


@pytest.fixture
def undrawn(monkeypatch):
    """For tests that only read tables and text: drawing takes most of the time."""
    monkeypatch.setattr("nnunet_ms.analysis.run_trial._draw", lambda *_: {})


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
    assert len(images) == 12
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


@pytest.mark.usefixtures("undrawn")
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


@pytest.mark.usefixtures("undrawn")
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


@pytest.mark.usefixtures("undrawn")
def test_exclusions_are_listed_with_reasons(tmp_path):
    table = patients(61)
    found = page(tmp_path, patients=table)
    assert "in the patient table, but has no mask" in found.texts
    assert "P060" in found.texts


def test_headings_step_down_one_level_at_a_time(found):
    levels = [int(name[1]) for name, _ in found.tags if name in ("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_contents_name_every_section_and_resolve(found):
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for attrs in found.named("a")]
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    assert {f"#{attrs['id']}" for attrs in found.named("section")} <= set(links)


def test_tables_and_figures_are_described(found):
    tags = [name for name, _ in found.tags]
    assert tags.count("figure") == tags.count("figcaption") == tags.count("img")
    assert all(attrs.get("scope") in ("col", "row", "rowgroup") for attrs in found.named("th"))
    for image in found.named("img"):
        assert len(image["alt"]) > 20
        assert not image["alt"].startswith("data")
    for name, attrs in found.tags:
        assert not any(key.startswith("on") for key in attrs), name
        assert name not in ("script", "svg", "iframe", "object", "embed", "link", "base", "form")


def test_each_endpoint_says_what_it_asks_of_whom_and_how(found):
    ids = [attrs["id"] for attrs in found.named("section")]
    text = " ".join(found.texts)
    expected = {"Question": 8, "Estimand": 2, "summary measure": 2, "Population": 8, "Main estimate": 6}
    for words, least in (expected | {"Method and convention": 8}).items():
        assert text.count(words) >= least, (words, ids)
    assert text.count("Convention “r”") >= 6


def test_every_table_is_there_as_csv_and_rtf(folder, found):
    titles = [t for t in found.texts if t]
    written = {path.stem for path in (folder / "tables").glob("*.rtf")}
    assert {"baseline", "disposition", "visit_completeness", "concordance", "bland_altman", "cdp24_cox"} <= written
    for stem in written:
        rtf = (folder / "tables" / f"{stem}.rtf").read_text(encoding="ascii")
        assert "SIMULATED DATA" in rtf
        assert (folder / "tables" / f"{stem}.csv").is_file()
    assert "Table 14.1.2.1. Baseline by arm" in titles


@pytest.mark.usefixtures("undrawn")
def test_without_the_extras_there_is_no_rtf_and_pdf_and_all_the_rest(tmp_path, monkeypatch):
    for name in ("rtf", "pdf"):
        monkeypatch.setattr(f"nnunet_ms.analysis.report.{name}.available", lambda: False)
        monkeypatch.setattr(f"nnunet_ms.analysis.report.{name}.write_{name}", None)
    page(tmp_path)
    assert not [path for ending in ("rtf", "pdf") for path in (tmp_path / "out").rglob(f"*.{ending}")]
    assert (tmp_path / "out" / "tables" / "baseline.csv").is_file()
