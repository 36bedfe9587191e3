"""Find the triangles of each marching cube: those whose surface and volume are what PyRadiomics gives for it.

It prints the table of `nnunet_ms/classification/rim/feature_shape.py`. PyRadiomics is only called, and installed as for
`pyradiomics_reference.py`: `PYTHONPATH=. python tests/classification/rim/find_triangles.py` (PyRadiomics 3.0.1, 15 s).

Candidates: on a face of the cube whose corners alternate, either pair of edges may be joined; the joined edges make
closed loops; each loop is cut into triangles in every possible way and seen from either side.
"""

from itertools import combinations, permutations, product

import numpy as np
from radiomics import cShape

CORNERS = np.array([(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0)])
EDGES = [pair for pair in combinations(range(8), 2) if np.abs(CORNERS[pair[0]] - CORNERS[pair[1]]).sum() == 1]
MIDDLES = np.array([CORNERS[list(pair)].mean(axis=0) for pair in EDGES])
FACES = [[i for i in range(8) if CORNERS[i][axis] == side] for axis in range(3) for side in (0, 1)]
SPACINGS = [np.array(spacing) for spacing in ((1.0, 1.0, 1.0), (3.0, 0.7, 1.3), (0.6, 2.1, 1.7))]


def joined(config, face):
    """Ways to join the cut edges of a face."""
    ring = [face[0], face[1], face[3], face[2]]
    ring = ring if np.abs(CORNERS[ring[1]] - CORNERS[ring[2]]).sum() == 1 else face
    pairs = [tuple(sorted((ring[k], ring[(k + 1) % 4]))) for k in range(4)]
    cut = [EDGES.index(pair) for pair in pairs if (config >> pair[0] & 1) != (config >> pair[1] & 1)]
    if len(cut) < 4:
        return [[tuple(cut)] if cut else []]
    return [[(cut[0], cut[1]), (cut[2], cut[3])], [(cut[1], cut[2]), (cut[3], cut[0])]]


def loops(segments):
    """Closed loops of joined edges."""
    neighbours = {}
    for a, b in segments:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    found, left = [], set(neighbours)
    while left:
        loop = [min(left)]
        while following := [edge for edge in neighbours[loop[-1]] if edge in left - set(loop)]:
            loop.append(following[0])
        left -= set(loop)
        found.append(loop)
    return found


def cuts(loop):
    """All ways to cut a loop into triangles."""
    if len(loop) < 3:
        return [[]]
    first, last = loop[0], loop[-1]
    return [
        [*before, (first, loop[k], last), *after]
        for k in range(1, len(loop) - 1)
        for before in cuts(loop[: k + 1])
        for after in cuts(loop[k:])
    ]


def measures(triangle):
    """Area and volume with the origin, for each spacing."""
    for spacing in SPACINGS:
        a, b, c = MIDDLES[list(triangle)] * spacing
        yield np.linalg.norm(np.cross(a - c, b - c)) / 2
        yield np.cross(a, b) @ c / 6


def looks_out(config, triangle):
    """Whether the corners are counted so that the normal points from inside to outside: not told by a volume of 0."""
    a, b, c = MIDDLES[list(triangle)]
    outwards = np.zeros(3)
    for first, second in (EDGES[edge] for edge in triangle):
        outwards += (CORNERS[second] - CORNERS[first]) * (1 if config >> first & 1 else -1)
    return np.cross(b - a, c - a) @ outwards > 0


def triangles_of(config, of_triangle):
    """Triangles of one cube."""
    mask = np.zeros((2, 2, 2), dtype=bool)
    mask[tuple(CORNERS[[bool(config >> bit & 1) for bit in range(8)]].T)] = True
    wanted = np.array([value for s in SPACINGS for value in cShape.calculate_coefficients(mask, s)[:2]])
    for way in product(*[joined(config, face) for face in FACES]):
        both_sides = [
            [*cuts(loop), *([(a, c, b) for a, b, c in cut] for cut in cuts(loop))]
            for loop in loops([segment for face in way for segment in face])
        ]
        for parts in product(*both_sides):
            found = [triangle for part in parts for triangle in part]
            is_equal = np.allclose(sum((of_triangle[t] for t in found), np.zeros(6)), wanted, rtol=0, atol=1e-9)
            if is_equal and all(looks_out(config, triangle) for triangle in found):
                return found
    raise ValueError(f"no triangles give the surface and volume of cube {config}")


if __name__ == "__main__":
    every = {t: np.array([*measures(t)]) for t in permutations(range(12), 3)}
    rows = ("".join("abcdefghijkl"[edge] for t in triangles_of(config, every) for edge in t) for config in range(128))
    print(" ".join(row or "-" for row in rows))
