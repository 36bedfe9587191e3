"""Sources that were published as several trees of the same patients: raw, co-registered, resampled ones.

A layout is an `Archive` for each name of a tree; `{tree}` in its expressions stands where the tree's own folder is
looked for. Where no variant is asked for, the first layout is taken that has files of every channel.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.sources.archive import (
    Archive,
    LayoutError,
    Names,
    cases_among,
    check_words,
    group_files,
    names_above,
    walk_files,
)
from nnunet_ms.dataset_conversion.sources.source import Request
from nnunet_ms.errors import ConversionError

TREE = "{tree}"


@dataclass(frozen=True)
class Layout:
    """One tree of a publication: its archive, the expression of the folder that is its name, and what it holds.

    `adapt` finishes a case: transforms, the file that gives the grid, what is missing.
    """

    archive: Archive
    tree: str
    says: str
    adapt: Callable[[Case, Request], Case] = lambda case, _: case


def find_published_cases(layouts: Mapping[str, Layout], request: Request) -> list[Case]:
    """Find the cases of one of the trees; names only, nothing is read.

    Parameters
    ----------
    layouts : mapping
        Variant -> layout, in order of preference.
    request : Request
        The folder of a tree, one above, or one patient's; its `variant` chooses a tree by name, also where the folder
        is called otherwise.

    Raises
    ------
    ConversionError
        As `find_archive_cases`.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.sources.open_ms import LAYOUTS, SOURCE
    >>> Path("cross_sectional/coregistered/patient01").mkdir(parents=True)
    >>> for name in ("FLAIR", "T1W", "T1WKS", "consensus_gt", "brainmask"):
    ...     Path(f"cross_sectional/coregistered/patient01/{name}.nii.gz").touch()
    >>> (case,) = find_published_cases(LAYOUTS, SOURCE.request("cross_sectional", "flair,t1,t1post"))
    >>> case.case_id, case.images["t1post"].name, case.brain_mask.name, case.remark.partition(":")[0]
    ('patient01', 'T1WKS.nii.gz', 'brainmask.nii.gz', 'read as coregistered')
    """
    plain = replace(request, variant="")
    check_words(_in_tree(next(iter(layouts.values()))), plain)
    if request.variant and request.variant not in layouts:
        raise ConversionError(
            f"{request.path}: --variant {request.variant}: expected one of {sorted(layouts)}. Correct --variant."
        )
    files, left_out = walk_files(request.path, follow=True)
    above = names_above(request.path)
    has = {name: _channels(_in_tree(layout), plain, files, above) for name, layout in layouts.items()}
    name, archive = _chosen(layouts, request, has)
    try:
        cases = cases_among(archive, plain, files, above=above)
    except LayoutError as error:
        expected = "; or ".join(dict.fromkeys(layout.archive.expected for layout in layouts.values()))
        message = str(error).replace(archive.expected, expected)
        raise LayoutError(message, error.source, error.files) from error
    remark = _remark(name, layouts[name], [other for other, number in has.items() if number and other != name])
    return [*(layouts[name].adapt(replace(case, remark=remark), request) for case in cases), *left_out]


def _in_tree(layout: Layout, tree: str | None = None) -> Archive:
    """The layout's archive, below a folder of its name; below any with an empty `tree`."""
    there = layout.tree if tree is None else tree
    archive = layout.archive

    def filled(names: Names) -> Names:
        return (
            names.replace(TREE, there) if isinstance(names, str) else tuple(name.replace(TREE, there) for name in names)
        )

    return replace(
        archive,
        images={channel: filled(names) for channel, names in archive.images.items()},
        masks={target: {who: filled(n) for who, n in raters.items()} for target, raters in archive.masks.items()},
        brain_mask=None if archive.brain_mask is None else filled(archive.brain_mask),
    )


def _channels(archive: Archive, request: Request, files: list[str], above: str) -> int:
    """Number of the channels that have files in this layout."""
    return sum(bool(group_files(files, archive.images.get(name, ()), above)) for name in request.channels)


def _chosen(layouts: Mapping[str, Layout], request: Request, has: Mapping[str, int]) -> tuple[str, Archive]:
    """The variant that is asked for, in any folder if none is called so; else the first that has most channels."""
    if request.variant:
        layout = layouts[request.variant]
        return request.variant, _in_tree(layout, None if has[request.variant] else "")
    name = max(layouts, key=lambda one: has[one])
    return name, _in_tree(layouts[name])


def _remark(name: str, layout: Layout, others: list[str]) -> str:
    if not layout.says:
        return ""
    more = f"; --variant reads {' or '.join(others)} instead" if others else ""
    return f"read as {name}: {layout.says}{more}"
