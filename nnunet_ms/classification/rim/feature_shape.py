"""Shape of a lesion: a triangle mesh between its voxels and the others, its diameters and its axes.

The mesh is that of marching cubes (Lorensen WE, Cline HE. Comput Graph 21:163-9, 1987) through the middles between
voxels. How a cube with several pieces, or with one that is not flat, is cut into triangles is open in that paper;
`_TRIANGLES` was found by search such that surface and volume of each cube are those of PyRadiomics 3.0.1
(`tests/classification/rim/find_triangles.py`).
"""

from functools import lru_cache
from itertools import combinations

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from nnunet_ms.arrays import Bools, Floats, Indices

# a cube's corners; bit k of its number says that corner k is inside the lesion
_CORNERS = np.array([(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0)])
# its edges a to l, as pairs of corners in the order of these: 01 03 04 12 15 23 26 37 45 47 56 67
_EDGES = [pair for pair in combinations(range(8), 2) if np.abs(np.diff(_CORNERS[list(pair)], axis=0)).sum() == 1]
# triangles of the cubes 0 to 127, three edges each; a cube above has those of its complement, seen from behind
_TRIANGLES = """
    - acb ade bdcdec dfg acbdfg afefge bfcfgcgec bhf acffch adebhf cheehddhf bhddhg acddcggch abebhehge cheehg cij
    aibbij adecij bdjdejeij cijdfg aibbijdfg afefgecij bfjfgefejeij bhfcij aiffihhij adebhfcij deffehhejjei
    bhddhgcij aiddhgdihhij abebhehgecij eihijhehg eki acbeki adidki bdkbkckic dfgeki acbdfgeki afifgigki
    bfcfgcgkckic bhfeki acffcheki adidkibhf chiidkihddhf bhddhgeki acddcggcheki abibhgbgigki cgiigkchg cejekj
    aebbkjbek adcdkjdjc bdjdkj cejekjdfg aebbkjbekdfg afcfgcgkckjc bfkfgkbkj bhfcejekj aeffehhejjek adcdkjdjcbhf
    djffjhdkj bhddhgcejekj agdahgajhakjaek abhahgagkakjajc gkhhkj glk acbglk adeglk bdcdecglk dfkflk acbdfkflk
    aflalelke bfcflkfkckec bhfglk acffchglk adebhfglk cheehddhfglk bkdbhkkhl acddlkdcllch abebhehlelke cheehkkhl
    cijglk aibbijglk adecijglk bdjdejeijglk cijdfkflk aibbijdfkflk aflalelkecij bfeflelkebejeij bhfcijglk
    aiffihhijglk adebhfcijglk deffehhejjeiglk bkdbhkkhlcij ahddhkkhlaihhij abebhehlelkecij eihijhehkhlk egiigl
    acbegiigl adldglali bdcdgcglclic dfeflifie acbdfeflifie afifli bfcflific bhfegiigl acffchegiigl adldglalibhf
    cdiidlldgchddhf bhddheehiihl acddiedlidhldch ablbhlali chiihl cegcgjglj aebbljbelleg adcdgcglcljc bdjdgjglj
    cejedjdfjflj aebbejjelleffed aflalcljc bfjflj bhfcegcgjglj ajffjhaejjgljeg adcdgcglcljcbhf djffjhdgjjgl
    blddleelccljbhl aedhlj ablbhlalcljc hlj
"""
_ENOUGH_FOR_A_HULL = 400  # points; with fewer all pairs are faster


def shape_features(mask: Bools, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """The 14 shape features of PyRadiomics.

    Parameters
    ----------
    mask : (X, Y, Z) bool array
        With at least one voxel.
    spacing_mm : (3,) floats
        Edges of a voxel along X, Y and Z.

    Returns
    -------
    dict of str to float
        Lengths in mm, the surface in mm2, volumes in mm3. The least axis of a lesion in one slice is 0 mm long.

    Examples
    --------
    >>> found = shape_features(np.ones((2, 2, 2), dtype=bool), (1.0, 1.0, 1.0))
    >>> found["VoxelVolume"], round(found["MeshVolume"], 3)
    (8.0, 5.667)
    """
    inside = mask[tuple(slice(axis.min(), axis.max() + 1) for axis in mask.nonzero())]
    padded = np.pad(inside, 1)
    # the cubes of PyRadiomics are numbered from the slowest axis of its arrays, Z
    surface, volume = _mesh(padded.transpose(2, 1, 0), spacing_mm[::-1])
    least, minor, major = _axes(inside, spacing_mm)
    return {
        "Elongation": _ratio(minor, major),
        "Flatness": _ratio(least, major),
        "LeastAxisLength": 4 * least,
        "MajorAxisLength": 4 * major,
        **_diameters(padded, spacing_mm),
        "MeshVolume": volume,
        "MinorAxisLength": 4 * minor,
        "Sphericity": (36 * np.pi * volume**2) ** (1 / 3) / surface,
        "SurfaceArea": surface,
        "SurfaceVolumeRatio": surface / volume,
        "VoxelVolume": float(np.count_nonzero(inside) * np.prod(spacing_mm)),
    }


def _ratio(length: float, longest: float) -> float:
    return length / longest if longest > 0 else 0.0


def _axes(inside: Bools, spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """Standard deviations of the voxels' places along the principal axes, the smallest first, in mm."""
    places = np.argwhere(inside) * np.array(spacing_mm)
    places -= places.mean(axis=0)
    values = np.linalg.eigvalsh(places.T @ places / len(places))
    least, minor, major = np.sqrt(np.maximum(values, 0)).tolist()
    return least, minor, major


def _mesh(padded: Bools, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Surface in mm2 and volume in mm3 of (Z, Y, X) voxels, the outermost of which are empty."""
    shape = np.array(padded.shape) - 1
    cubes = np.zeros(shape, dtype=np.intp)
    for bit, (x, y, z) in enumerate(_CORNERS):
        cubes += padded[x : x + shape[0], y : y + shape[1], z : z + shape[2]].astype(np.intp) << bit
    places = np.argwhere((cubes > 0) & (cubes < 255))
    numbers = cubes[tuple(places.T)]
    areas, normals, volumes = _cube_tables(spacing_mm)
    # the volume of a tetrahedron with the origin, for triangles that are moved by the cube's place
    moved = np.einsum("ni,ni->", places * np.array(spacing_mm), normals[numbers])
    return float(areas[numbers].sum()), float(volumes[numbers].sum() + moved) / 6


@lru_cache(maxsize=64)
def _cube_tables(spacing_mm: tuple[float, float, float]) -> tuple[Floats, Floats, Floats]:
    """Of each of the 256 cubes: area, (256,); sum of the triangles' normals, (256, 3); six times the volume, (256,)."""
    middles = np.array([_CORNERS[list(pair)].mean(axis=0) for pair in _EDGES]) * np.array(spacing_mm)
    areas, normals, volumes = np.zeros(256), np.zeros((256, 3)), np.zeros(256)
    for number, text in enumerate(_TRIANGLES.split()):
        edges = np.array([ord(letter) - ord("a") for letter in text if letter != "-"], dtype=np.intp).reshape(-1, 3)
        a, b, c = middles[edges].transpose(1, 0, 2)
        normal = np.cross(a - c, b - c)
        areas[[number, 255 - number]] = np.linalg.norm(normal, axis=1).sum() / 2
        for cube, sign in ((number, 1), (255 - number, -1)):
            normals[cube] = sign * normal.sum(axis=0)
            volumes[cube] = sign * np.einsum("ti,ti->", np.cross(a, b), c)
    return areas, normals, volumes


def _diameters(padded: Bools, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Largest distances between points of the mesh: of all, and of those in one plane along X, Y or Z."""
    points = _mesh_points(padded)
    row, column, slice_ = (_largest_in_planes(points, axis, spacing_mm) for axis in range(3))
    outer = _ends_of_lines(points, 2) * np.array(spacing_mm) / 2
    return {
        "Maximum2DDiameterColumn": column,
        "Maximum2DDiameterRow": row,
        "Maximum2DDiameterSlice": slice_,
        "Maximum3DDiameter": _largest_distance(outer),
    }


def _mesh_points(padded: Bools) -> Indices:
    """Middles between a voxel inside and a neighbour outside, (N, 3) in half voxels."""
    points = []
    for axis in range(3):
        between = np.argwhere(np.diff(padded.astype(np.int8), axis=axis) != 0) * 2
        between[:, axis] += 1
        points.append(between)
    return np.concatenate(points)


def _largest_in_planes(points: Indices, axis: int, spacing_mm: tuple[float, float, float]) -> float:
    others = [other for other in range(3) if other != axis]
    scale = np.array(spacing_mm)[others] / 2
    ends = _ends_of_lines(points[:, [axis, *others]], 2)  # by plane, then by line
    starts = np.flatnonzero(np.diff(ends[:, 0])) + 1
    return max(_largest_distance(plane[:, 1:] * scale) for plane in np.split(ends, starts))


def _ends_of_lines(points: Indices, along: int) -> Indices:
    """The first and the last point of every line along the last axis, in order: no other can be farthest."""
    ordered = points[np.lexsort((points[:, along], points[:, 1], points[:, 0]))]
    is_first = np.ones(len(ordered), dtype=bool)
    is_first[1:] = (ordered[1:, :along] != ordered[:-1, :along]).any(axis=1)
    return ordered[is_first | np.roll(is_first, -1)]


def _largest_distance(points: Floats) -> float:
    if len(points) > _ENOUGH_FOR_A_HULL:
        points = points[ConvexHull(points).vertices]
    return float(pdist(points).max()) if len(points) > 1 else 0.0
