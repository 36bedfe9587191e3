"""`python -m nnunet_ms.doors`: does nnU-Net find our classes, and if not, what to do.

With the name of a command of nnU-Net it runs that command in this environment:

    python -m nnunet_ms.doors nnUNetv2_train 801 3d_fullres 0 -tr nnUNetTrainerMSMultiArm -p nnUNetPlansMS

That is the way where `nnUNetv2_train` itself belongs to another Python, such as the base below a virtual environment.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from nnunet_ms.commands import COULD_NOT_RUN, OK, run
from nnunet_ms.errors import SettingsError

PROGRAM = "python -m nnunet_ms.doors"


def main(argv: Sequence[str] | None = None) -> int:
    """Say what was found (0; 2 with one line where nnU-Net is missing or too old), or run a command of nnU-Net."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    return run(PROGRAM, lambda: run_command(arguments) if arguments else report())


def report() -> int:
    """Print the folder that holds `trainers.py` (for `nnUNet_extTrainer`), and on stderr what nnU-Net finds."""
    from nnunet_ms.nnunet import require_nnunet

    print(Path(__file__).parent)
    found = require_nnunet()
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    print(f"nnU-Net {found}: {', '.join(nnunetv2.__path__)}", file=sys.stderr)
    if getattr(recursive_find_python_class, "nnunet_ms", False):
        print("It finds the trainers, the planner and the normalisation of nnunet_ms by name.", file=sys.stderr)
        return OK
    print(
        f"The start-up file of nnunet_ms did not run (python -S?), so nnU-Net does not find its classes. "
        f"Run nnU-Net's commands as: {PROGRAM} nnUNetv2_train ...",
        file=sys.stderr,
    )
    return COULD_NOT_RUN


def run_command(arguments: Sequence[str]) -> int:
    """Run a command of nnU-Net in this environment.

    Raises
    ------
    SettingsError
        If nnU-Net has no command of that name, or is missing, too old or too new.
    """
    from nnunet_ms.nnunet import require_nnunet

    require_nnunet()
    known = {entry.name: entry for entry in entry_points(group="console_scripts") if entry.value.startswith("nnunetv2")}
    if arguments[0] not in known:
        raise SettingsError(f"{arguments[0]}: expected a command of nnU-Net, one of {', '.join(sorted(known))}.")
    _install()
    sys.argv = list(arguments)
    return int(known[arguments[0]].load()() or OK)


def _install() -> None:
    try:
        import nnunet_ms_doors
    except ModuleNotFoundError as error:
        raise SettingsError(
            "nnunet_ms: expected an installed package, found a folder on the path only. Install it: pip install ."
        ) from error
    nnunet_ms_doors.install()


if __name__ == "__main__":
    sys.exit(main())
