"""More than 500 ways in which a case can be damaged, each on tiny files; `catalogue` names them all.

A damage gets the folder of a whole case (flair, t1 and mask) and a random generator; whatever it does, the case must
not be converted.
"""

import gzip
import os
import struct
import zlib
from functools import partial

import nibabel as nib
import numpy as np
import pandas as pd

from nnunet_ms.dataset_conversion.cli import main

SHAPE = (7, 6, 5)
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
FLAIR, T1, MASK = "flair.nii.gz", "t1.nii.gz", "mask.nii.gz"


def write(path, data, affine=AFFINE, codes=(2, 1)):
    image = nib.Nifti1Image(data, affine, dtype=data.dtype)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    nib.save(image, path)


def whole_case(folder, rng):
    """A case without fault; every voxel is drawn anew, so no two cases share an image."""
    folder.mkdir(parents=True)
    write(folder / FLAIR, rng.integers(0, 30000, SHAPE).astype(np.int16))
    write(folder / T1, rng.random(SHAPE).astype(np.float32))
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:4, 2:4, 2] = 1
    write(folder / MASK, mask)


def patch(name, offset, form, *values):
    """Damage that packs values into the header of the unpacked file."""

    def damage(folder, _rng):
        content = bytearray(gzip.decompress((folder / name).read_bytes()))
        struct.pack_into("<" + form, content, offset, *values)
        (folder / name).write_bytes(gzip.compress(bytes(content), mtime=0))

    return damage


def cut(name, share):
    def damage(folder, _rng):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return damage


def cut_unpacked(name, number):
    def damage(folder, _rng):
        content = gzip.decompress((folder / name).read_bytes())
        (folder / name).write_bytes(gzip.compress(content[:-number] if number > 0 else content + b"\0" * -number))

    return damage


def unpacked(content):
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return None


def flip_inside(name):
    """One bit of the compressed stream that counts (a few are padding)."""

    def damage(folder, rng):
        whole = (folder / name).read_bytes()
        broken = whole
        while unpacked(broken) == unpacked(whole):
            content = bytearray(whole)
            content[int(rng.integers(20, len(content) - 8))] ^= 1 << int(rng.integers(8))
            broken = bytes(content)
        (folder / name).write_bytes(broken)

    return damage


def replace(name, content):
    return lambda folder, _rng: (folder / name).write_bytes(content)


def voxel(name, dtype, value):
    def damage(folder, rng):
        data = rng.random(SHAPE).astype(dtype)
        data[tuple(rng.integers(0, SHAPE))] = value
        write(folder / name, data)

    return damage


def mask_value(dtype, value):
    def damage(folder, _rng):
        data = np.zeros(SHAPE, dtype)
        data[2, 2, 2] = value
        write(folder / MASK, data)

    return damage


def moved_qform(axis, mm, angle):
    def damage(folder, rng):
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        other = AFFINE.copy()
        other[:3, :3] = turn @ AFFINE[:3, :3]
        other[axis, 3] += mm
        image = nib.Nifti1Image(rng.integers(0, 900, SHAPE).astype(np.int16), AFFINE)
        image.set_sform(AFFINE, 1)
        image.set_qform(other, 1)
        nib.save(image, folder / FLAIR)

    return damage


def spaced(x, y, z):
    def damage(folder, rng):
        write(folder / FLAIR, rng.integers(0, 900, SHAPE).astype(np.int16), np.diag([x, y, z, 1.0]))

    return damage


def sheared(amount):
    def damage(folder, rng):
        affine = AFFINE.copy()
        affine[0, 1] = amount
        image = nib.Nifti1Image(rng.integers(0, 900, SHAPE).astype(np.int16), affine)
        image.set_sform(affine, 1)
        image.set_qform(None, 0)
        nib.save(image, folder / FLAIR)

    return damage


def copied(source, target):
    return lambda folder, _rng: (folder / target).write_bytes((folder / source).read_bytes())


def constant(value):
    return lambda folder, _rng: write(folder / FLAIR, np.full(SHAPE, value, np.float32))


def shaped(name, shape, dtype):
    return lambda folder, rng: write(folder / name, rng.integers(0, 2, shape).astype(dtype))


def link(name, target):
    def damage(folder, _rng):
        (folder / name).unlink()
        (folder / name).symlink_to(target.format(name=name))

    return damage


def loop_of_two(name):
    def damage(folder, _rng):
        (folder / name).unlink()
        (folder / name).symlink_to("other")
        (folder / "other").symlink_to(name)

    return damage


def folder_instead(name):
    def damage(folder, _rng):
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def pipe_instead(name):
    def damage(folder, _rng):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


NAN, INF = float("nan"), float("inf")
DIM, DATATYPE, PIXDIM, OFFSET, SLOPE, INTER, SROW = 40, 70, 76, 108, 112, 116, 280
OTHER_FILES = {
    "text": b"this is a letter, not a scan\n" * 40,
    "page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20,
    "dicom": b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0" * 60,
    "zip": b"PK\x03\x04" + b"\0" * 400,
    "png": b"\x89PNG\r\n\x1a\n" + b"\0" * 400,
    "nothing": b"",
    "one-byte": b"\x1f",
    "gzip-of-nothing": gzip.compress(b""),
    "gzip-of-text": gzip.compress(b"letter" * 300),
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
}


def catalogue():
    """Name -> damage."""
    rng, found = np.random.default_rng(0), {}
    for name in (FLAIR, T1, MASK):
        part = name.split(".")[0]
        found |= {f"cut-{part}-{k}": cut(name, k / 30) for k in range(30)}
        found |= {f"short-{part}-{n}": cut_unpacked(name, n) for n in (1, 2, 17, 100, 209, -1, -2, -16, -400)}
        found |= {f"flip-{part}-{k}": flip_inside(name) for k in range(20)}
        found |= {f"{kind}-{part}": replace(name, content) for kind, content in OTHER_FILES.items()}
        found |= {f"tail-{part}-{k}": partial(append, name=name, number=k) for k in (1, 4, 8, 100)}
        for k, magic in enumerate((b"n+3\0", b"\0\0\0\0", b"nii ", b"N+1\0", b"n+1x"[:3] + b"\1")):
            found[f"magic-{part}-{k}"] = patch(name, 344, "4s", magic)
        for k, size in enumerate((0, 347, 349, 1543569408 + 1, -1, 540)):
            found[f"header-size-{part}-{k}"] = patch(name, 0, "i", size)
        for axis in (1, 2, 3):
            for size in (-1, 0, SHAPE[axis - 1] - 1, SHAPE[axis - 1] + 1, 4000, 32767, -32768):
                found[f"shape-{part}-{axis}-{size}"] = patch(name, DIM + 2 * axis, "h", size)
        found |= {f"axes-{part}-{n}": patch(name, DIM, "h", n) for n in (0, 1, 2, 8, -1, 300)}
        found |= {f"type-{part}-{n}": patch(name, DATATYPE, "h", n) for n in (0, 1, 3, 32, 128, 1280, 1792, 2304, 9999)}
        for axis in (1, 2, 3):
            found |= {
                f"spacing-{part}-{axis}-{v}": patch(name, PIXDIM + 4 * axis, "f", v) for v in (0.0, NAN, INF, 1e30)
            }
        found |= {f"row-{part}-{k}": patch(name, SROW + 4 * k, "f", (NAN, INF, -INF)[k % 3]) for k in range(12)}
        found |= {f"offset-{part}-{v}": patch(name, OFFSET, "f", v) for v in (NAN, INF, -1.0, 353.0, 1e9, 1e30)}
        found |= {f"link-{part}-{k}": link(name, t) for k, t in enumerate(("{name}", "nowhere", ".", "/", "../.."))}
        found |= {f"loop-{part}": loop_of_two(name), f"folder-{part}": folder_instead(name)}
        found |= {f"pipe-{part}": pipe_instead(name), f"absent-{part}": lambda f, _, name=name: (f / name).unlink()}
        shapes = ((7, 6), (7, 6, 5, 2), (7, 6, 1, 1, 3), (7,))
        found |= {f"dimensions-{part}-{len(s)}": shaped(name, s, np.uint8) for s in shapes}
    for dtype in (np.float32, np.float64):
        for value in (NAN, INF, -INF, *((1e300,) if dtype is np.float64 else ())):
            found |= {f"voxel-{np.dtype(dtype)}-{value}-{k}": voxel(T1, dtype, value) for k in range(3)}
    found |= {f"scaling-{v}": patch(FLAIR, SLOPE, "ff", v, 0.0) for v in (1e37, -3e38, INF)}
    found |= {f"intercept-{v}": patch(FLAIR, SLOPE, "ff", 1.0, v) for v in (INF, NAN)}
    for k in range(30):
        found[f"conflict-{k}"] = moved_qform(k % 3, float(rng.choice([-1, 1]) * 10 ** rng.uniform(-0.5, 2)), 0.0)
    found |= {f"conflict-turn-{k}": moved_qform(0, 0.0, a) for k, a in enumerate((0.05, 0.3, 1.5, 3.14159))}
    for mm in (1e-6, 1e-3, 0.04, 26, 1000, 1e6):
        found |= {
            f"size-{mm}-0": spaced(mm, 1, 3),
            f"size-{mm}-1": spaced(1, mm, 3),
            f"size-{mm}-2": spaced(mm, mm, mm),
        }
    found |= {f"shear-{v}": sheared(v) for v in (0.05, 0.1, 1.0)}  # less is made straight
    found |= {
        f"swapped-{k}": copied(*pair) for k, pair in enumerate(((FLAIR, T1), (T1, FLAIR), (MASK, FLAIR), (MASK, T1)))
    }
    found |= {f"image-as-mask-{name}": copied(name, MASK) for name in (FLAIR, T1)}
    found |= {f"constant-{v}": constant(v) for v in (0, 1, -7.5)}
    for dtype, value in ((np.uint8, 2), (np.uint8, 255), (np.int16, -1), (np.int32, 2**31 - 1), (np.float32, 0.5)):
        found[f"label-{np.dtype(dtype)}-{value}"] = mask_value(dtype, value)
    found |= {f"label-{v}": mask_value(np.float32, v) for v in (NAN, INF, 0.999, 256.0, 257.0)}
    found["label-wraps"] = mask_value(np.int64, 2**32 + 1)
    found |= {f"grid-{sum(s)}": shaped(MASK, s, np.uint8) for s in ((7, 6, 4), (6, 7, 5), (8, 6, 5), (1, 1, 1))}
    return found


def append(folder, _rng, name, number):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content + b"garbage!" * 13 if number == 100 else content + b"garbage!"[:number])


def manifest_of(folder, names):
    """Manifest of cases that lie in folders of these names."""
    rows = [{"patient_id": name, "visit": "v", "week": 0, **paths(name)} for name in names]
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def paths(name):
    return {"flair": f"{name}/{FLAIR}", "t1": f"{name}/{T1}", "t2_lesions": f"{name}/{MASK}"}


def convert_damaged(manifest, raw, *more):
    arguments = ["--channels", "flair,t1", "--dataset-id", "5", "--raw", str(raw), "--folds", "2"]
    return main(["trial", str(manifest), *arguments, *more])


def make(folder, damages, whole=()):
    rng = np.random.default_rng(0)
    for name in (*whole, *damages):
        whole_case(folder / name, rng)
        if name in damages:
            damages[name](folder / name, rng)
    return manifest_of(folder, [*whole, *damages])


def lines_of(error):
    """Case -> its line."""
    assert "Traceback" not in error
    return {line.split(": ")[1].removeprefix("case "): line for line in error.splitlines()}
