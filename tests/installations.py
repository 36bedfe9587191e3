"""Fresh environments with nnU-Net installed in one of four ways.

Libraries come from the environment that runs the tests: only nnU-Net and this package are really installed, and a
start-up path shows the new environment everything else, so that no network and no gigabytes are needed.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

SITE = Path(next(p for p in sys.path if p.endswith("site-packages") and (Path(p) / "nnunetv2").is_dir()))
OWN = ("nnunetv2", "nnunet_ms", "_nnunet_ms", "__editable__")
NNUNET_PROJECT = """
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"
[project]
name = "nnunetv2"
version = "{version}"
[project.scripts]
{scripts}
[tool.setuptools.packages.find]
include = ["nnunetv2*"]
"""


class Environment:
    """A virtual environment; `python` and the scripts of `bin` run without any variable of nnU-Net's search."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, symlinks=True)
        self.bin = folder / "bin"
        self.site = next(folder.glob("lib/python*/site-packages"))

    def see(self, folder: Path) -> None:
        """Put a folder at the end of the environment's path, as a base environment's packages are."""
        with (self.site / "zz_more.pth").open("a", encoding="utf-8") as stream:
            stream.write(f"{folder}\n")

    def pip(self, *arguments: str) -> None:
        """Run pip without network and without dependencies."""
        options = ("--disable-pip-version-check", "--no-input", "--python", str(self.bin / "python"))
        done = subprocess.run([sys.executable, "-m", "pip", *options, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, f"pip {arguments}: {done.stderr[-3000:]}"

    def install(self, *what: str) -> None:
        """Install without dependencies and with the build tools that are there."""
        self.pip("install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", *what)

    def run(self, *command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
        """Return what a command of this environment printed; the test fails with its errors."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]], cwd=cwd or self.folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


def libraries(folder: Path) -> Path:
    """A folder that shows every library of the running environment but nnU-Net and this package."""
    folder.mkdir()
    for entry in SITE.iterdir():
        if not entry.name.startswith(OWN) and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


def place_nnunet(site: Path) -> None:
    """Copy nnU-Net as pip installs it: package and metadata, without any door of ours."""
    info = next(SITE.glob("nnunetv2-*.dist-info"))
    shutil.copytree(SITE / "nnunetv2", site / "nnunetv2", ignore=shutil.ignore_patterns("nnunet_ms_*", "__pycache__"))
    shutil.copytree(info, site / info.name)


def nnunet_scripts(environment: Environment) -> None:
    """Write nnU-Net's commands into an environment, as pip does."""
    for line in _entry_points():
        name, target = (part.strip() for part in line.split("="))
        module, function = target.split(":")
        script = environment.bin / name
        python = environment.bin / "python"
        text = f"#!{python}\nimport sys\nfrom {module} import {function}\n"
        script.write_text(f'{text}if __name__ == "__main__":\n    sys.exit({function}())\n')
        script.chmod(0o755)


def _entry_points() -> list[str]:
    text = (next(SITE.glob("nnunetv2-*.dist-info")) / "entry_points.txt").read_text(encoding="utf-8")
    return [line for line in text.split("[console_scripts]")[1].splitlines() if line.startswith("nnUNet")]


def nnunet_checkout(folder: Path) -> Path:
    """A source tree of nnU-Net that `pip install -e` takes, as its own users have it."""
    folder.mkdir()
    shutil.copytree(SITE / "nnunetv2", folder / "nnunetv2", ignore=shutil.ignore_patterns("nnunet_ms_*", "__pycache__"))
    info = next(SITE.glob("nnunetv2-*.dist-info"))
    quoted = "\n".join(f'{n.strip()} = "{t.strip()}"' for n, t in (line.split("=") for line in _entry_points()))
    project = NNUNET_PROJECT.format(version=info.name.split("-")[1].removesuffix(".dist"), scripts=quoted)
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
    return folder
