"""Versions of this package and of what it stands on, from their installation records: nothing is imported for them."""

from pathlib import Path

OWN = "nnunet-ms"
ABSENT = "not installed"
_SHOWN = {"nnU-Net": "nnunetv2", "torch": "torch"}


def version_of(distribution: str) -> str:
    """Version of an installed distribution, or `ABSENT`.

    This package's own is known in a checkout too that was never installed: pyproject.toml says it, and `+checkout` is
    added.

    Examples
    --------
    >>> version_of("no-such-distribution")
    'not installed'
    """
    from importlib.metadata import PackageNotFoundError, version  # a tenth of a second on slow disks, seldom wanted

    try:
        return version(distribution)
    except PackageNotFoundError:
        return _of_checkout() if distribution == OWN else ABSENT


def version_line() -> str:
    """What `--version` prints.

    Examples
    --------
    >>> version_line()
    'nnunet-ms ... (nnU-Net ..., torch ...)'
    """
    others = ", ".join(f"{name} {version_of(distribution)}" for name, distribution in _SHOWN.items())
    return f"{OWN} {version_of(OWN)} ({others})"


def _of_checkout() -> str:
    import tomllib

    path = Path(__file__).resolve().parents[1] / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"] if path.is_file() else {}
    return f"{project['version']}+checkout" if project.get("name") == OWN else ABSENT
