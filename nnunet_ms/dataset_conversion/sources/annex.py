"""Files whose content is not there: links and pointers of git-annex (DataLad) and of Git LFS."""

from pathlib import Path

_LARGEST_POINTER = 32_768  # bytes; git-annex and Git LFS keep theirs far below
_POINTERS = {
    b"/annex/objects/": "git-annex: run `datalad get` or `git annex get` in the data set",
    b"version https://git-lfs.github.com/spec/": "Git LFS: run `git lfs pull` in the data set",
}


def missing_content(path: Path) -> str:
    """Say that a file is a link or a pointer without its content, and how to get it; blank where the content is there.

    Examples
    --------
    >>> Path("sub-01_FLAIR.nii.gz").symlink_to(".git/annex/objects/x/y.nii.gz")
    >>> missing_content(Path("sub-01_FLAIR.nii.gz"))
    'is a link whose content is not there (git-annex: run `datalad get` or `git annex get` in the data set)'
    >>> missing_content(Path("flair.nii.gz"))
    ''
    """
    if path.is_symlink() and not path.exists():
        annexed = ".git/annex/" in path.readlink().as_posix()
        how = _POINTERS[b"/annex/objects/"] if annexed else f"it leads to {path.readlink()}: copy the file there"
        return f"is a link whose content is not there ({how})"
    if path.is_file() and path.stat().st_size <= _LARGEST_POINTER:
        with path.open("rb") as file:
            start = file.read(64)
        for mark, how in _POINTERS.items():
            if start.startswith(mark):
                return f"is a pointer whose content is not there ({how})"
    return ""
