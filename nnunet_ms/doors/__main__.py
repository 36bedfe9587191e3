"""`python -m nnunet_ms.doors` prints the folder for nnU-Net's `nnUNet_extTrainer`.

Only needed where nnU-Net itself is an editable checkout, because the wheel cannot place modules in there.
"""

import sys
from pathlib import Path


def main() -> int:
    """Print the folder that holds `trainers.py`."""
    print(Path(__file__).parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
