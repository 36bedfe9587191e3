"""Estimators and tests on plain values and tables; opens no file and knows no trial.

On data frames, `ms.statistics.cox(frame, "time", "event", ["arm", "tlv"])` and its neighbours give a tidy table and
the fitted object; they stand in `frames`. Four of them share their name with the module of their estimator, and Python
binds a module to its package when it is imported. So these modules answer a call as the function of their name: both
`ms.statistics.cox(frame, ...)` and `from nnunet_ms.statistics.cox import fit_cox` work, in whatever order.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False  # type checkers take it for true
if TYPE_CHECKING:
    from nnunet_ms.statistics.frames import added_value as added_value
    from nnunet_ms.statistics.frames import ancova as ancova
    from nnunet_ms.statistics.frames import classifiers as classifiers
    from nnunet_ms.statistics.frames import count_model as count_model
    from nnunet_ms.statistics.frames import cox as cox
    from nnunet_ms.statistics.frames import kaplan_meier as kaplan_meier
    from nnunet_ms.statistics.frames import logrank as logrank
    from nnunet_ms.statistics.frames import mmrm as mmrm

_FRAMES = ("added_value", "ancova", "classifiers", "count_model", "cox", "kaplan_meier", "logrank", "mmrm")


class _Estimator(ModuleType):
    """A module of estimators that can be called on a data frame."""

    def __call__(self, *args: object, **options: object) -> object:
        """Call the function of this name in `frames`."""
        return _of_frames(self.__name__.rpartition(".")[2])(*args, **options)

    @property
    def __signature__(self) -> object:
        """What completion and `inspect.signature` show."""
        return import_module("inspect").signature(_of_frames(self.__name__.rpartition(".")[2]))


class _Package(ModuleType):
    """The package: a module that is bound to it under the name of a function on data frames answers a call."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _FRAMES and type(value) is ModuleType:
            value.__class__ = _Estimator
        super().__setattr__(name, value)


if not TYPE_CHECKING:  # checkers see the imports above alone, and so a misspelt name

    def __getattr__(name: str) -> object:
        """Import what a name stands for at its first use: a function on data frames."""
        if name not in _FRAMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        function = _of_frames(name)
        return globals().get(name, function)


def _of_frames(name: str) -> Callable[..., object]:
    function: Callable[..., object] = getattr(import_module(f"{__name__}.frames"), name)
    return function


def __dir__() -> list[str]:
    """The functions on data frames beside what is imported."""
    return sorted({*globals(), *_FRAMES})


sys.modules[__name__].__class__ = _Package
