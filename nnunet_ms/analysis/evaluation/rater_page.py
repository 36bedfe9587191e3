"""`raters.html`: what the tables of several raters say, on one page that needs no other file."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment

from nnunet_ms.analysis.evaluation.rater_cases import RaterSettings
from nnunet_ms.analysis.evaluation.rater_tables import RaterMatrix
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.outputs import whole_file

PAGE = "raters.html"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Raters</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #222; }
h2 { border-top: 1px solid #ccc; padding-top: .8em; } img { max-width: 100%; height: auto; }
table { border-collapse: collapse; } td, th { padding: .15em .8em; text-align: left; border-bottom: 1px solid #ddd; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } .note { color: #555; }
</style></head><body>
<h1>Raters against each other and against their consensus</h1>
<p>{{ n_cases }} cases{{ note }}. Raters, of whom the consensus is made: {{ raters|join(", ") }}.
{%- if models %} Compared beside them: {{ models|join(", ") }}.{% endif %}</p>
<p class="note">Every pair is compared on the cases that both have. Majority: more than half of the raters who have read
the case; a tie is no lesion. STAPLE: SimpleITK's, probability above 0.5. Both contain the rater's own mask; majority of
others does not. Intervals resample patients.</p>
{% if missing -%}
<p>Missing:{% for rater, cases in missing %} {{ rater }} in {{ cases|length }} of {{ n_cases }} cases
({{ cases[:10]|join(", ") }}
{%- if cases|length > 10 %} and {{ cases|length - 10 }} more{% endif %}){{ "." if loop.last else ";" }}
{%- endfor %}</p>
{% endif -%}
{% if failures -%}
<p>Could not be used:{% for one in failures[:10] %} {{ one.case }}: {{ one.reason }}{% endfor %}
{%- if failures|length > 10 %} and {{ failures|length - 10 }} more, see failures.csv.{% endif %}</p>
{% endif -%}
{% for part in parts -%}
<h2>{{ part.lesion_type }}, rule {{ part.rule }}</h2>
<p class="note">{{ part.description }}.</p>
{% for picture in part.pictures -%}
<p><img src="data:image/svg+xml;base64,{{ picture.data }}" alt="{{ picture.alt }}"></p>
{% endfor -%}
<h3>Williams' index</h3>
<p class="note">Mean agreement with the raters over their agreement with each other; an upper limit above 1: may be
taken for one of them. Jackknife over patients.</p>
<table><tr><th>rater</th><th>agreement</th><th>index</th><th>{{ level }} % interval</th><th>raters</th><th>cases</th>
<th>read by all</th></tr>
{% for row in part.williams -%}
<tr><td>{{ row.rater }}</td><td>{{ row.metric }}</td><td class="number">{{ number(row.williams_index) }}</td>
<td>{{ number(row.low) }} to {{ number(row.high) }}</td><td class="number">{{ row.n_raters }}</td>
<td class="number">{{ row.n_cases }}</td><td class="number">{{ row.n_complete }}</td></tr>
{% endfor -%}
</table>
{% endfor -%}
{% if staple -%}
<h2>STAPLE</h2>
<p class="note">Sensitivity and specificity of voxels, mean over cases. Specificity and prior are of all voxels that
count: {{ counted }}.</p>
<table><tr><th>rater</th><th>lesion type</th><th>rate</th><th>mean</th><th>{{ level }} % interval</th><th>n</th></tr>
{% for row in staple -%}
<tr><td>{{ row.rater }}</td><td>{{ row.lesion_type }}</td><td>{{ row.metric }}</td>
<td class="number">{{ number(row.mean, 4) }}</td><td>{{ number(row.low, 4) }} to {{ number(row.high, 4) }}</td>
<td class="number">{{ row.n }}</td></tr>
{% endfor -%}
</table>
{% endif -%}
</body></html>
"""


def write_page(
    folder: Path, found: RaterMatrix, settings: RaterSettings, pictures: Mapping[tuple[str, str], Sequence[Path]]
) -> Path:
    """Write the page beside the tables.

    Parameters
    ----------
    folder : Path
        Where to write.
    found : RaterMatrix
        The tables.
    settings : RaterSettings
        Raters, models, rules and lesion types.
    pictures : mapping
        (lesion type, rule) -> SVG files.
    """
    described = {rule.name: rule.description for rule in rules_by_name(settings.rules)}
    parts = [
        {
            "lesion_type": lesion_type,
            "rule": rule,
            "description": described[rule],
            "pictures": [_picture(path, lesion_type) for path in files],
            "williams": _rows(found.williams[_of(found.williams, lesion_type, rule)]),
        }
        for (lesion_type, rule), files in pictures.items()
    ]
    by_rater = found.missing.groupby("rater", sort=False)["case_id"].apply(list)
    page = Environment(autoescape=True).from_string(_PAGE)
    text = page.render(
        n_cases=found.n_cases,
        note=f", {settings.note} data" if settings.note else "",
        raters=settings.raters,
        models=settings.models,
        missing=list(by_rater.items()),
        failures=found.failures,
        parts=parts,
        staple=_rows(found.staple),
        counted="those of the brain masks" if settings.brain else "those of the whole image",
        level=f"{100 * float(found.williams['level'].iloc[0]):g}" if len(found.williams) else "95",
        number=_number,
    )
    with whole_file(folder / PAGE) as partial:
        partial.write_text(text, encoding="utf-8")
    return folder / PAGE


def _of(frame: pd.DataFrame, lesion_type: str, rule: str) -> "pd.Series[bool]":
    return (frame["lesion_type"] == lesion_type) & (frame["rule"] == rule)


def _rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _picture(path: Path, lesion_type: str) -> dict[str, str]:
    what = "every pair of raters" if path.name.startswith("rater_matrix_") else "detection by lesion size"
    return {"data": b64encode(path.read_bytes()).decode("ascii"), "alt": f"Heat map of {lesion_type}: {what}"}


def _number(value: float, digits: int = 3) -> str:
    return "–" if value != value else f"{value:.{digits}f}"
