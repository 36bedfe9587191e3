"""Run the scripts of this folder and put their pictures beside them: `make gallery`, or `python draw.py NAME ...`."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "draw")


def draw(name: str, folder: Path) -> Path:
    """Run one script in a folder, where simulated data stay for the next one, and return its picture."""
    environment = {**os.environ, "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, str(HERE / f"{name}.py")], cwd=folder, env=environment, check=True)
    return folder / f"{name}.png"


def main(names: Sequence[str]) -> None:
    """Draw the named pictures, or all."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names or SCRIPTS:
            print(f"== {name}", flush=True)
            shutil.copyfile(draw(name, Path(folder)), HERE / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
