"""Links inside a source that lead out of it: what is converted then is not what was given, so they are named."""

from pathlib import Path

from nnunet_ms.dataset_conversion.cases import Case


def leaves(path: Path, root: Path) -> bool:
    """Whether a path below `root` is a link, or lies behind one, that leads out of it; links inside are nobody's harm.

    Examples
    --------
    >>> Path("source").mkdir()
    >>> Path("source/t1.nii.gz").symlink_to(Path("flair.nii.gz").resolve())
    >>> leaves(Path("source/t1.nii.gz"), Path("source"))
    True
    >>> leaves(Path("flair.nii.gz"), Path("."))
    False
    """
    return not path.resolve().is_relative_to(root.resolve())


def links_out(case: Case, root: Path) -> str:
    """What to tell about files of a case that lie below the source by name only; nothing where there are none.

    Examples
    --------
    >>> Path("source").mkdir()
    >>> Path("source/t1.nii.gz").symlink_to(Path("flair.nii.gz").resolve())
    >>> links_out(Case("P1", "", None, {"t1": Path("source/t1.nii.gz")}, None), Path("source"))
    't1.nii.gz is a link out of the source, to ...flair.nii.gz'
    """
    others = [case.brain_mask, case.reference, *sum(case.transforms.values(), ())]
    paths = dict.fromkeys(path for path in (*case.files().values(), *others) if path is not None)
    out = [path for path in paths if path.is_relative_to(root) and leaves(path, root)]
    return "; ".join(f"{path.name} is a link out of the source, to {path.resolve()}" for path in out)
