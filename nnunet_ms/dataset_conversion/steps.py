"""The optional preparation of the images, by name: what may be asked for, and what excludes what."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from nnunet_ms.errors import ConversionError, OptionError
from nnunet_ms.images.limits import EDGES_MM, are_edges
from nnunet_ms.options import chosen, switch

if TYPE_CHECKING:
    from nnunet_ms.images.grids import Spacing

Alignment = Literal["", "rigid", "affine"]
Brain = Literal["", "deepbet"]
_SWITCHES = ("reorient", "n4", "to_baseline", "to_mni", "apply_brain_mask", "hd_bet")


@dataclass(frozen=True)
class Steps:
    """What is done to the images; the default is nothing, and then files are copied.

    Parameters
    ----------
    reorient : bool, optional
        Axes to right, anterior, superior.
    n4 : bool, optional
        Correct the bias field of every image.
    align : {"", "rigid", "affine"}, optional
        Register the other channels to the first one.
    to_baseline : bool, optional
        Register later visits (rigidly) to the patient's first one.
    to_mni : bool, optional
        Register the first visit (rigidly) to the MNI152 template, and later ones through the first; images then lie on
        the template's grid.
    spacing : (3,) tuple of float, "isotropic" or None, optional
        New voxel edges in mm; `isotropic` takes the finest edge for all three. Three that differ imply `reorient`,
        because only then do they belong to the body's axes.
    apply_brain_mask : bool, optional
        0 outside the brain mask that comes with the data.
    hd_bet : bool, optional
        0 outside the brain mask that the external command hd-bet makes.
    brain : {"", "deepbet"}, optional
        0 outside the brain mask that deepbet makes of T1, or of FLAIR where there is no T1 (extra `brain`).
    threads : int, optional
        Threads per process for these steps, >= 1.

    Raises
    ------
    OptionError
        If a word or a number is not among those that a step takes.
    ConversionError
        If two brain masks are asked for.

    Examples
    --------
    >>> Steps(n4=True, spacing=(1.0, 1.0, 3.0)).reorients
    True
    >>> Steps(align="elastic")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: align: expected one of '', 'rigid', 'affine', found 'elastic'. Choose one of them.
    """

    reorient: bool = False
    n4: bool = False
    align: Alignment = ""
    to_baseline: bool = False
    to_mni: bool = False
    spacing: "Spacing" = None
    apply_brain_mask: bool = False
    hd_bet: bool = False
    brain: Brain = ""
    threads: int = 1

    def __post_init__(self) -> None:
        chosen(self.align, get_args(Alignment), "align")
        chosen(self.brain, get_args(Brain), "brain")
        for name in _SWITCHES:
            switch(getattr(self, name), name)
        if self.spacing not in (None, "isotropic") and not are_edges(self.spacing):
            low, high = EDGES_MM
            raise OptionError(
                f"spacing: expected three edges of {low:g} to {high:g} mm, 'isotropic' or None, found "
                f"{self.spacing!r}. Correct it."
            )
        masks = {"--hd-bet": self.hd_bet, "--apply-brain-mask": self.apply_brain_mask, "--brain deepbet": self.brain}
        asked = [option for option, is_asked in masks.items() if is_asked]
        if len(asked) > 1:
            raise ConversionError(f"{' and '.join(asked[:2])}: expected one brain mask, found two. Leave one out.")
        if isinstance(self.threads, bool) or not isinstance(self.threads, int) or self.threads < 1:
            raise OptionError(f"threads: expected a whole number >= 1, found {self.threads!r}. Correct it.")

    def any(self) -> bool:
        """Whether images change at all."""
        return any((self.reorients, self.n4, self.align, self.through_baseline, self.spacing, self.strips))

    @property
    def through_baseline(self) -> bool:
        """Whether later visits are registered to the first: asked for, or on their way to the template."""
        return self.to_baseline or self.to_mni

    @property
    def reorients(self) -> bool:
        """Whether the axes are turned: asked for, or needed by voxel edges that differ."""
        return self.reorient or (self.spacing not in (None, "isotropic") and len(set(self.spacing)) > 1)

    @property
    def strips(self) -> bool:
        """Whether a brain mask is applied."""
        return self.apply_brain_mask or self.hd_bet or bool(self.brain)


NO_STEPS = Steps()


def steps_of(words: Steps | Mapping[str, Any] | None) -> Steps:
    """Steps from their names, such as ``{"n4": True, "align": "rigid"}``; none without any.

    Raises
    ------
    OptionError
        If a name is none of `Steps`, or as `Steps`.
    ConversionError
        As `Steps`.

    Examples
    --------
    >>> steps_of({"n4": True, "align": "rigid"}).any()
    True
    >>> steps_of(None) == NO_STEPS
    True
    """
    if isinstance(words, Steps):
        return words
    if words is not None and not isinstance(words, Mapping):
        raise OptionError(
            f'steps: expected names with values, such as {{"to_mni": True}}, found {words!r}. Correct it.'
        )
    for name in words or {}:
        chosen(name, [field.name for field in fields(Steps)], "steps")
    return Steps(**(words or {}))
