"""Doors: how nnU-Net finds our classes by name, with no environment variable and nothing put into its folders.

The checkout's `startup/` is installed beside the package: a start-up file of one line (`nnunet_ms_doors.pth`; `.start`
from Python 3.15 on) and the module that it calls. It waits for nnU-Net's look-up function and answers for the names in
`classes.py`, before nnU-Net imports trainers of its own that need torchvision. So it does not matter where nnU-Net
lies: in the same environment, in an editable checkout, or in the base environment below a virtual one.

`trainers.py`, `planners.py` and `normalization.py` re-export; classes keep their one true module.
"""
