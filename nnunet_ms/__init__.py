"""nnunet_ms: from the MRI of a multiple sclerosis trial to the trial's conclusions, on nnU-Net."""

TYPE_CHECKING = False  # type checkers take it for true; importing `typing` for it would take longer than all else here
if TYPE_CHECKING:
    from nnunet_ms import statistics as statistics
    from nnunet_ms.analysis.evaluation.evaluate import evaluate as evaluate
    from nnunet_ms.analysis.evaluation.two_masks import evaluate_masks as evaluate_masks
    from nnunet_ms.analysis.run_trial import run_trial as run_trial
    from nnunet_ms.dataset_conversion.convert import convert as convert
    from nnunet_ms.errors import NnunetMsError as NnunetMsError
    from nnunet_ms.simulation.simulate import simulate as simulate
    from nnunet_ms.trainers.prediction.open_model import open_model as open_model
    from nnunet_ms.trainers.prediction.predict import predict as predict

    __version__: str

# public name -> module that it is taken from at its first use
_PLACES = {
    "NnunetMsError": "nnunet_ms.errors",
    "convert": "nnunet_ms.dataset_conversion.convert",
    "evaluate": "nnunet_ms.analysis.evaluation.evaluate",
    "evaluate_masks": "nnunet_ms.analysis.evaluation.two_masks",
    "open_model": "nnunet_ms.trainers.prediction.open_model",
    "predict": "nnunet_ms.trainers.prediction.predict",
    "run_trial": "nnunet_ms.analysis.run_trial",
    "simulate": "nnunet_ms.simulation.simulate",
}
__all__ = [
    "NnunetMsError",
    "__version__",
    "convert",
    "evaluate",
    "evaluate_masks",
    "open_model",
    "predict",
    "run_trial",
    "simulate",
    "statistics",
]


if not TYPE_CHECKING:  # checkers see the imports above alone, and so a misspelt name

    def __getattr__(name: str) -> object:
        """Import what a public name stands for, once."""
        from importlib import import_module

        if name == "statistics":
            return import_module("nnunet_ms.statistics")
        if name == "__version__":
            value = import_module("nnunet_ms.versions").version_of("nnunet-ms")
        elif name in _PLACES:
            value = getattr(import_module(_PLACES[name]), name)
        else:
            here = import_module("nnunet_ms")
            raise AttributeError(f"module 'nnunet_ms' has no attribute {name!r}", name=name, obj=here)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """The public names, for completion and for "did you mean"."""
    return sorted({*globals(), *__all__})
