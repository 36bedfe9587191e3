"""Connected components of the foreground of a mask, by several connectivities at once.

Lesions fill a thousandth of an image. So the image is looked at once, for the places of its foreground voxels, and all
else costs time by their number or by the box around them. Places are flat indices with x fastest, the order in which
NIfTI files store voxels. The box is labelled once, by the smallest connectivity asked for; components of a larger one
are unions of those, joined wherever two of them touch by an edge or a corner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import Literal, TypeVar

import cc3d
import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, Ints
from nnunet_ms.errors import OptionError

Connectivity = Literal[6, 18, 26]
Labels = npt.NDArray[np.unsignedinteger]
Scalar = TypeVar("Scalar", bound=np.generic)
_AXES_CHANGED = {6: 1, 18: 2, 26: 3}  # a neighbour by face differs along one axis, by edge along two, by corner three
_WORD, _SHIFT = 8, 3  # voxels of a byte each that are looked at together, and the power of two that it is


@dataclass(frozen=True)
class Components:
    """The L connected components of one array, made of V voxels together; of whatever grid, see `Lesions` for places.

    Attributes
    ----------
    index : (V,) int64 array
        Ascending flat index of each foreground voxel, first axis fastest.
    component : (V,) int64 array
        The component, 0 .. L - 1, that each of these voxels belongs to; numbered as `label_voxels` does.
    shape : tuple of int
        Of the array.
    """

    index: Ints
    component: Ints
    shape: tuple[int, ...]

    @cached_property
    def voxels(self) -> Ints:
        """Size of each component in voxels, (L,)."""
        return np.bincount(self.component).astype(np.int64)

    @property
    def count(self) -> int:
        """Number of components, L."""
        return int(self.voxels.size)

    @cached_property
    def axes(self) -> tuple[Ints, Ints, Ints]:
        """Indices of the foreground voxels along the three axes, (V,) each."""
        return coordinates(self.index, self.shape)

    def painted(self, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """An array of the components' shape that holds one value, out of (L,), in each component, and 0 elsewhere."""
        image = np.zeros(self.shape, dtype=values.dtype)
        image[self.axes] = values[self.component]
        return image


def find_components(data: npt.NDArray[np.generic], connectivity: Connectivity = 18) -> Components:
    """Label the connected components of the non-zero voxels of an array.

    Parameters
    ----------
    data : (X, Y, Z) array
        Every non-zero voxel is foreground.
    connectivity : {6, 18, 26}
        Neighbours of a voxel: by face; also by edge; also by corner.

    Returns
    -------
    Components
        Numbered by their first voxel where the last axis runs fastest; arrays of length 0 without foreground.

    Raises
    ------
    OptionError
        If the connectivity is none of them.

    Examples
    --------
    Two voxels that touch by an edge are one component; a third one lies alone:

    >>> data = np.zeros((4, 4, 4), dtype=bool)
    >>> data[0, 0, 0] = data[0, 1, 1] = data[3, 3, 3] = True
    >>> find_components(data).voxels.tolist(), find_components(data, 6).voxels.tolist()
    ([2, 1], [1, 1, 1])
    """
    index = foreground(data)
    return Components(index, label_voxels(index, data.shape, [connectivity])[0][connectivity], data.shape)


def foreground(data: npt.NDArray[np.generic]) -> Ints:
    """Ascending flat indices (x fastest) of the non-zero voxels of (X, Y, Z), (V,)."""
    flat = data.ravel(order="F")
    if flat.dtype.itemsize > 1:
        return np.flatnonzero(flat != 0)
    whole = flat.size // _WORD * _WORD
    words = np.flatnonzero(flat[:whole].view(np.uint64) != 0)  # eight voxels in one look; nearly all words are empty
    within = np.flatnonzero(flat[:whole].reshape(-1, _WORD)[words].ravel() != 0)
    index = words[within >> _SHIFT] * _WORD + (within & (_WORD - 1))
    rest = np.flatnonzero(flat[whole:] != 0)
    return np.concatenate([index, rest + whole]) if rest.size else index


def coordinates(index: Ints, shape: Sequence[int]) -> tuple[Ints, Ints, Ints]:
    """Voxel indices along x, y and z of flat indices with x fastest, (V,) each."""
    z = index // (shape[0] * shape[1])  # division by a number is vectorised; divmod and unravel_index are not
    in_plane = index - z * (shape[0] * shape[1])
    y = in_plane // shape[0]
    return in_plane - y * shape[0], y, z


def check_connectivity(value: object) -> None:
    """Raise OptionError unless a value is 6, 18 or 26.

    Examples
    --------
    >>> check_connectivity(8)
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: connectivity: expected 6, 18 or 26, found 8. Choose one of them.
    """
    if value not in _AXES_CHANGED:
        raise OptionError(f"connectivity: expected 6, 18 or 26, found {value!r}. Choose one of them.")


def label_voxels(
    index: Ints, shape: Sequence[int], connectivities: Sequence[Connectivity]
) -> tuple[dict[Connectivity, Ints], Bools]:
    """Number the connected components of a set of voxels.

    Parameters
    ----------
    index : (V,) int64 array
        Ascending flat indices, x fastest.
    shape : (3,) ints
        Of the image.
    connectivities : sequence of {6, 18, 26}
        Neighbours of a voxel: by face; also by edge; also by corner.

    Returns
    -------
    components : dict
        Connectivity -> (V,) int64 array, the component 0 .. L - 1 of each voxel, in the order of the components' first
        voxels where z runs fastest: the same on every machine and for every storage order.
    surface : (V,) bool array
        Whether a neighbour by face is missing.

    Raises
    ------
    OptionError
        If a connectivity is none of them.
    """
    for connectivity in connectivities:
        check_connectivity(connectivity)
    if not index.size:
        return dict.fromkeys(connectivities, np.zeros(0, dtype=np.int64)), np.zeros(0, dtype=np.bool_)
    inside, place, scan = _boxed(index, shape)
    surface = _surface(inside, place)
    smallest = min(connectivities)
    labels = cc3d.connected_components(inside, connectivity=smallest).ravel(order="F")
    label = labels[place]
    number = _scan_order(label, scan)
    base = number[label]
    touching = place[surface]  # a voxel whose neighbours by face are all there joins nothing by an edge or a corner
    components: dict[Connectivity, Ints] = {}
    for connectivity in connectivities:
        offsets = _offsets(_AXES_CHANGED[smallest], _AXES_CHANGED[connectivity]) @ np.array(inside.strides)
        components[connectivity] = _joined(labels, touching, offsets, number)[base] if offsets.size else base
    return components, surface


def _boxed(index: Ints, shape: Sequence[int]) -> tuple[Bools, Ints, Ints]:
    """The box around the voxels with an empty margin of one voxel, their places in it, and in a scan with z fastest.

    With the margin every neighbour of a voxel has a place. It also keeps cc3d from boxes one voxel thin, on which
    version 4.1.1 fails.
    """
    x, y, z = axes = coordinates(index, shape)
    starts = [int(x.min()) - 1, int(y.min()) - 1, int(z[0]) - 1]  # z never falls
    ends = [int(x.max()) + 2, int(y.max()) + 2, int(z[-1]) + 2]
    sizes = [end - start for start, end in zip(starts, ends, strict=True)]
    inside = np.zeros(sizes, dtype=np.bool_, order="F")
    place = flat_place(axes, starts, sizes)
    inside.ravel(order="F")[place] = True
    return inside, place, flat_place(axes[::-1], starts[::-1], sizes[::-1])


def flat_place(axes: Sequence[Ints], starts: Sequence[int], sizes: Sequence[int]) -> Ints:
    """Flat indices, first axis fastest, of voxels in a box of `sizes` that begins at `starts`, (V,)."""
    first, second, third = axes
    a, b, c = starts
    return np.asarray(first + sizes[0] * (second + sizes[1] * third) - (a + sizes[0] * (b + sizes[1] * c)))


@cache
def _offsets(more_than: int, up_to: int) -> Ints:
    """Steps (N, 3) to neighbours that differ along so many axes, one of each pair of opposite ones."""
    steps = [step for step in product((-1, 0, 1), repeat=3) if more_than < np.count_nonzero(step) <= up_to]
    return np.array(steps[: len(steps) // 2], dtype=np.int64).reshape(-1, 3)


def _surface(inside: Bools, place: Ints) -> Bools:
    flat = inside.ravel(order="F")
    interior = flat[place + 1] & flat[place - 1]
    for step in inside.strides[1:]:
        interior &= flat[place + step]
        interior &= flat[place - step]
    return np.asarray(~interior)


def _scan_order(label: Labels, scan: Ints) -> Ints:
    """Number 0 .. L - 1 of each label 1 .. L, by its first voxel in scan order; at [0] something meaningless."""
    first = np.full(int(label.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, label, scan)
    number = np.zeros(first.size, dtype=np.int64)
    number[1 + np.argsort(first[1:])] = np.arange(first.size - 1)
    return number


def _joined(labels: Labels, place: Ints, offsets: Ints, number: Ints) -> Ints:
    """New number of each numbered component, (L,), after those that touch by one of the offsets are joined."""
    own = labels[place]
    pairs = []
    for offset in offsets:
        other = labels[place + offset]
        different = np.flatnonzero((other != own) & (other != 0))
        pairs.append((own[different], other[different]))
    first, second = (number[np.concatenate(side)] for side in zip(*pairs, strict=True))
    group = np.arange(number.size - 1)
    while not np.array_equal(group[first], group[second]):
        smaller = np.minimum(group[first], group[second])
        np.minimum.at(group, group[first], smaller)
        np.minimum.at(group, group[second], smaller)
        group = group[group]
    leaders = group == np.arange(group.size)  # the first of each group, so that the numbers stay in scan order
    return np.asarray(np.cumsum(leaders)[group] - 1)
