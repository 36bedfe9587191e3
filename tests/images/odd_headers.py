"""Headers as scanners, programs and hands leave them, each a way to write an image and its mask; no patient's data.

Each function gets the folder, a name without suffix, and voxels, and returns the path that it wrote.
"""

import bz2
import gzip
import lzma
import struct
from functools import partial

import nibabel as nib
import numpy as np
import SimpleITK

LAS = np.diag([-1.0, 1.0, 1.5, 1.0])
LAS[:3, 3] = (12, -14, -15)
PIXDIM, SLOPE = 76, 112


def turned(degrees, axes=(0, 1), signs=(-1, -1, 1), spacing=(1.0, 1.0, 1.5), origin=(120.0, 118.0, -70.0)):
    """Affine of a scan in LPS order (by default) that is tilted in one plane."""
    angle, rotation = np.deg2rad(degrees), np.eye(3)
    i, j = axes
    rotation[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(signs) @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def sheared(cosine):
    affine = LAS.copy()
    affine[0, 1] = cosine
    return affine


def saved(folder, name, data, affine=LAS, qform=None, codes=(1, 1), kind=nib.Nifti1Image, suffix=".nii.gz", units="mm"):
    """With sform `affine` and qform `qform`, or the same."""
    image = kind(data, affine, dtype=data.dtype)
    image.set_sform(affine, codes[0])
    image.set_qform(affine if qform is None else qform, codes[1])
    image.header.set_xyzt_units(units)
    nib.save(image, folder / f"{name}{suffix}")
    return folder / f"{name}{suffix}"


def patched(folder, name, data, offset, form, values, **more):
    path = saved(folder, name, data, suffix=".nii", **more)
    content = bytearray(path.read_bytes())
    struct.pack_into("<" + form, content, offset, *values)
    path.unlink()
    path = path.with_suffix(".nii.gz")
    path.write_bytes(gzip.compress(bytes(content), mtime=0))
    return path


def renamed(folder, name, data, written, called):
    path = saved(folder, name, data, suffix=written)
    return path.rename(folder / f"{name}{called}")


def in_members(folder, name, data, number):
    content = saved(folder, name, data, suffix=".nii").read_bytes()
    step = len(content) // number + 1
    path = folder / f"{name}.nii.gz"
    path.write_bytes(b"".join(gzip.compress(content[k : k + step]) for k in range(0, len(content), step)))
    (folder / f"{name}.nii").unlink()
    return path


def big_endian(folder, name, data):
    image = nib.Nifti1Image(data, LAS, header=nib.Nifti1Header(endianness=">"), dtype=data.dtype)
    nib.save(image, folder / f"{name}.nii.gz")
    return folder / f"{name}.nii.gz"


def with_axes(folder, name, data, axes):
    return saved(folder, name, data.reshape(*data.shape, *axes))


def moved_qform(folder, name, data, mm, codes):
    moved = LAS.copy()
    moved[0, 3] += mm
    return saved(folder, name, data, qform=moved, codes=codes)


def typed(folder, name, data, dtype):
    return saved(folder, name, data.astype(dtype))


TILTS = (0.01, 0.025, 0.03, 0.035, 0.05, 0.07, 0.1, 1.7)
ACCEPTED = {
    "NIfTI-2": partial(saved, kind=nib.Nifti2Image),
    "NIfTI-2, not packed": partial(saved, kind=nib.Nifti2Image, suffix=".nii"),
    "codes 0": partial(saved, codes=(0, 0)),
    "codes 0 and NIfTI-2": partial(saved, codes=(0, 0), kind=nib.Nifti2Image),
    "sform alone": partial(saved, codes=(2, 0)),
    "qform alone": partial(saved, codes=(0, 1)),
    "Talairach and scanner": partial(saved, codes=(3, 1)),
    **{f"shear {cosine}": partial(saved, affine=sheared(cosine), codes=(1, 0)) for cosine in (1e-6, 8e-5, 2e-4, 5e-4)},
    **{f"shear {cosine}, sound qform": partial(saved, affine=sheared(cosine), qform=LAS) for cosine in (5e-5, 4e-4)},
    **{f"tilted {angle}": partial(saved, affine=turned(angle)) for angle in TILTS},
    **{f"tilted {angle}, qform alone": partial(saved, affine=turned(angle), codes=(0, 1)) for angle in TILTS},
    **{f"tilted {angle}, RPI": partial(saved, affine=turned(angle, (0, 2), (1, -1, -1))) for angle in (0.03, 0.06)},
    **{f"tilted {angle}, LAI": partial(saved, affine=turned(angle, (1, 2), (-1, 1, -1))) for angle in (0.03, 0.06)},
    "pixdim .8 % off": partial(patched, offset=PIXDIM + 4, form="f", values=(1.008,), codes=(1, 0)),
    "micrometres": partial(saved, units="micron"),
    "metres": partial(saved, units="meter"),
    "no units": partial(saved, units="unknown"),
    "sform .02 mm beside qform": partial(moved_qform, mm=0.02, codes=(2, 1)),
    "sform .09 mm beside qform": partial(moved_qform, mm=0.09, codes=(4, 1)),
    "4-D with one volume": partial(with_axes, axes=(1,)),
    "5-D with one volume": partial(with_axes, axes=(1, 1)),
    "suffix .NII.GZ": partial(renamed, written=".nii.gz", called=".NII.GZ"),
    "suffix .Nii.Gz": partial(renamed, written=".nii.gz", called=".Nii.Gz"),
    "suffix .NII": partial(renamed, written=".nii", called=".NII"),
    "not packed": partial(saved, suffix=".nii"),
    "not packed, called .nii.gz": partial(renamed, written=".nii", called=".nii.gz"),
    "packed, called .nii": partial(renamed, written=".nii.gz", called=".nii"),
    "three gzip members": partial(in_members, number=3),
    "big-endian": big_endian,
    "no scaling, by NaN": partial(patched, offset=SLOPE, form="ff", values=(float("nan"), float("nan"))),
    "no scaling, by 0": partial(patched, offset=SLOPE, form="ff", values=(0.0, 0.0)),
    **{
        f"voxels of {t.__name__}": partial(typed, dtype=t)
        for t in (np.int8, np.uint32, np.int64, np.uint64, np.float64)
    },
}


def packed_by(folder, name, data, pack):
    path = saved(folder, name, data, suffix=".nii")
    path.write_bytes(pack(path.read_bytes()))
    return path.rename(folder / f"{name}.nii.gz")


def moved_far(folder, name, data, **turn):
    return saved(folder, name, data, qform=turned(**turn) if turn else LAS + np.outer([3, 0, 0, 0], [0, 0, 0, 1]))


def two_volumes(folder, name, data):
    return saved(folder, name, np.stack([data, data], axis=-1))


def one_slice(folder, name, data):
    return saved(folder, name, data[:, :, 3])


def of_another_format(folder, name, data, kind, suffix):
    nib.save(kind(data.astype(np.int16 if suffix != ".mgz" else np.float32), LAS), folder / f"{name}{suffix}")
    return folder / f"{name}{suffix}"


def of_simpleitk(folder, name, data, suffix):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(data.T), str(folder / f"{name}{suffix}"))
    return folder / f"{name}{suffix}"


CONVERT = "Convert it: nib-convert FILE NEW.nii.gz"
REFUSED = {  # and what is said of it
    "sform 3 mm beside qform": (moved_far, r"sform and qform 3 mm apart.*copysform2qform FILE, or .*copyqform2sform"),
    "sform turned against qform": (partial(moved_far, degrees=5), "sform and qform .* mm apart"),
    "left and right exchanged in qform": (
        partial(moved_far, degrees=0, signs=(1, 1, 1)),
        "sform and qform .* mm apart",
    ),
    "two volumes": (two_volumes, r"found shape \(24, 28, 20, 2\). Split it into 3-D volumes"),
    "one slice": (one_slice, r"found shape \(24, 28\). Put its slices together"),
    "packed by bzip2": (partial(packed_by, pack=bz2.compress), "packed by bzip2. Unpack it: bunzip2 FILE"),
    "packed by xz": (partial(packed_by, pack=lzma.compress), "packed by xz. Unpack it: unxz FILE"),
    **{
        f"NIfTI in two files, by {suffix}": (partial(of_another_format, kind=nib.Nifti1Pair, suffix=suffix), CONVERT)
        for suffix in (".hdr", ".img")
    },
    "ANALYZE": (partial(of_another_format, kind=nib.AnalyzeImage, suffix=".img"), CONVERT),
    "FreeSurfer": (partial(of_another_format, kind=nib.MGHImage, suffix=".mgz"), CONVERT),
    "NRRD": (partial(of_simpleitk, suffix=".nrrd"), r"SimpleITK.WriteImage\(SimpleITK.ReadImage\(FILE\)"),
    "MetaImage": (partial(of_simpleitk, suffix=".mha"), r"SimpleITK.WriteImage\(SimpleITK.ReadImage\(FILE\)"),
    "garbage after the packed bytes": (partial(packed_by, pack=lambda c: gzip.compress(c) + b"garbage" * 9), "damaged"),
}
