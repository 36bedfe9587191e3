"""The model that comes with the package, for `nnunet-ms-segment` without `--model`; its card lies beside its weights.

Found as the models of other packages are, by the entry point `nnunet_ms.models`. Made by
`benchmarks/shipped_model_*.py`.
"""

FOLDER = __path__[0]
