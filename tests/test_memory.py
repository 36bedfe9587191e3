import os
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
images = [np.empty(2_000_000, dtype=np.uint8) for _ in range(20)]
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


# whatever somebody, or a test before, has settled for glibc: it would follow that
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
@pytest.mark.parametrize(
    ("before", "is_kept"), [("", False), (LABEL, False), (COMMAND, True)], ids=["", "label", "command"]
)
def test_images_lie_in_freed_memory_in_our_commands_and_not_in_the_users_programs(before, is_kept):
    # Oracle: glibc's own count of blocks that it will give back at once.
    code = CODE.replace("{before}", before)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=PLAIN)
    blocks = int(done.stdout)  # 20 images; addresses are random, and the heap cannot always grow for each of them
    assert blocks <= 4 if is_kept else blocks >= 16
