"""Render the report: one HTML file that needs no network and no JavaScript; data is escaped."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
import pandas as pd

from nnunet_ms.analysis.report.figures import main_estimates
from nnunet_ms.analysis.report.parts import Block
from nnunet_ms.analysis.report.shells import aligned, number_tables
from nnunet_ms.analysis.trial.data import TrialData

TEMPLATE = "report.html.j2"
LISTED_EXCLUSIONS = 200  # the page stays small; the audit file lists all
MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class EmbeddedFigure:
    """An image inside the page: a `data:` address, its caption, and its text for those who cannot see it.

    `inches`: its width as drawn, so that its letters are legible on every screen.
    """

    source: str
    caption: str
    alt: str
    inches: float = 8.6


def embed(path: Path, caption: str, alt: str, inches: float = 8.6) -> EmbeddedFigure:
    """Read an .svg or .png file into a `data:` address.

    An SVG goes in as an image, not as markup: identifiers of two inline SVGs would clash.
    """
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return EmbeddedFigure(f"data:{MEDIA_TYPES[path.suffix.lower()]};base64,{content}", caption, alt, inches)


def render_page(
    trial: TrialData,
    blocks: Sequence[Block],
    figures: Mapping[str, EmbeddedFigure],
    exclusions: pd.DataFrame,
    provenance: Mapping[str, object],
) -> str:
    """Return the page.

    Parameters
    ----------
    trial : TrialData
        Name, raters, arms and conventions.
    blocks : sequence of Block
        In the order shown.
    figures : mapping
        By the stems that blocks name.
    exclusions : pandas.DataFrame
        `exclusions.EXCLUSION_COLUMNS`.
    provenance : mapping
        Shown in the footer; must not hold the time, so that two runs give the same page.
    """
    settings = trial.settings
    return page_template(TEMPLATE).render(
        settings=settings,
        raters=trial.raters,
        truth_known=trial.truth is not None,
        title=settings.report.title or settings.name,
        numbers=number_tables(blocks),
        aligned=aligned,
        headlines={block.key: headlines(block, trial.raters) for block in blocks},
        main_figure=figures.get(main_estimates.STEM),
        blocks=blocks,
        figures=figures,
        reasons=_reasons(exclusions),
        exclusions=exclusions.head(LISTED_EXCLUSIONS).to_dict("records"),
        exclusion_count=len(exclusions),
        provenance=provenance,
    )


def page_template(name: str, package: str = "nnunet_ms.analysis.report") -> jinja2.Template:
    """One of the templates of a package, or what one of them includes (also of this one); every value is escaped."""
    folders = [resources.files(one) for one in dict.fromkeys((package, "nnunet_ms.analysis.report"))]

    def text_of(name: str) -> str:
        there = [folder.joinpath(name) for folder in folders if folder.joinpath(name).is_file()]
        return there[0].read_text(encoding="utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(text_of),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def headlines(block: Block, raters: Sequence[str]) -> list[str]:
    """The lines at the head of the page: of the first rater where there are several; the block itself has all.

    Examples
    --------
    >>> block = Block("t2", "T2", "?", "all", [], main=["reference: 1.0", "model: 1.1"])
    >>> headlines(block, ["reference", "model"])
    ['1.0']
    """
    own = [line for line in block.main if raters and line.startswith(f"{raters[0]}: ")]
    return [line.removeprefix(f"{raters[0]}: ") for line in own] or block.main


def _reasons(exclusions: pd.DataFrame) -> list[dict[str, object]]:
    """Count rows and patients per analysis and reason."""
    grouped = exclusions.groupby(["analysis", "reason"], sort=True)
    return [
        {"analysis": analysis, "reason": reason, "rows": len(rows), "patients": rows["patient_id"].nunique()}
        for (analysis, reason), rows in grouped
    ]
