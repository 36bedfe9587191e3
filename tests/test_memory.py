import subprocess
import sys

import pytest

# glibc counts the blocks that it asked the system for one by one (mallinfo(3), hblks): the fourth of ten ints
CODE = """
import ctypes
import numpy as np
class Mallinfo(ctypes.Structure):
    _fields_ = [(f"field_{number}", ctypes.c_int) for number in range(10)]
mallinfo = ctypes.CDLL(None).mallinfo
mallinfo.restype = Mallinfo
{before}
blocks = mallinfo().field_3
image = np.empty(20_000_000, dtype=np.uint8)
print(mallinfo().field_3 - blocks)
"""
LABEL = """
from nnunet_ms.lesions.components import label_voxels
label_voxels(np.arange(8), (10, 10, 10), (6, 26))
"""
COMMAND = """
from nnunet_ms.commands import run
run("p", lambda: 0)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
@pytest.mark.parametrize(("before", "own_blocks"), [("", 1), (LABEL, 1), (COMMAND, 0)], ids=["", "label", "command"])
def test_images_lie_in_freed_memory_in_our_commands_and_not_in_the_users_programs(before, own_blocks):
    # Oracle: glibc's own count of blocks that it will give back at once.
    code = CODE.replace("{before}", before)
    # the heap cannot always grow, as addresses are random: the least of three starts
    starts = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(3)
    ]
    assert min(int(done.stdout) for done in starts) == own_blocks
