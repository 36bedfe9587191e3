"""Runs the commands of a learning curve in forks of one process that has imported the libraries already.

A command of nnU-Net or of ours takes 7 to 9 s to start on two CPU cores, and the smallest trainings of
`learning_curve.py` hardly longer. A fork runs the same function with the same words, variables and log. What is left
out is what no weight depends on: the picture of the losses after every epoch, a search for threaded libraries at every
batch, and nnU-Net's own validation after the training, of what `nnunet-ms-predict` predicts once more. Predictions
overlap by a quarter of the patch (`--step-size 0.75`), which takes a third of the time. With `--presentations 40
--batch 4` and one thread the weights equal those of `nnUNetv2_train`.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

STEP_SIZE = "0.75"  # between tiles of a prediction, share of the patch; a third of the tiles that 0.5 has


def main(presentations: int, batch: int, words: Sequence[str]) -> int:
    """Run `nnUNetv2_train ...`, or `nnunet-ms-learning-curve` with these words.

    nnU-Net's variables are set before: it reads them when it is imported.
    """
    import torch
    from nnunetv2.run import run_training  # noqa: F401 - so that forks have it
    from nnunetv2.training.dataloading import data_loader
    from nnunetv2.training.logging.nnunet_logger import MetaLogger

    from nnunet_ms.analysis import evaluate_cli  # noqa: F401
    from nnunet_ms.learning import cli, runs, scoring
    from nnunet_ms.trainers import fine_tune, new_lesions, predict_cli  # noqa: F401
    from nnunet_ms.trainers.prediction import predict  # noqa: F401

    torch.set_num_threads(1)
    small = new_lesions.nnUNetTrainerMSBalancedSmall  # what fine-tuning at this size inherits from too
    epoch = small.batch * small.iterations_per_epoch
    small.presentations_per_study, small.batch, small.iterations_per_epoch = presentations, batch, epoch // batch
    new_lesions.nnUNetTrainerMSBalanced.perform_actual_validation = _nothing
    MetaLogger.plot_progress_png = _nothing
    data_loader.threadpool_limits = _no_limits  # looks for libraries at every batch; there is one thread anyway
    if words[0] == "nnUNetv2_train":
        return _run(words)
    runs.run_logged = scoring.run_logged = forked
    return cli.main(list(words))


def forked(command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str], *_: Any, **__: Any) -> int:
    """Run a command as `nnunet_ms.programs.run_logged` does, in a fork."""
    if command[0] == "nnunet-ms-predict":
        command = (*command, "--step-size", STEP_SIZE)
    log.parent.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv = list(command)
        code = _run(command)
    except BaseException:  # noqa: BLE001 - a fork never returns
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(command: Sequence[str]) -> int:
    program, *words = command
    if program == "nnUNetv2_train":
        import torch
        from nnunetv2.run.run_training import run_training

        value = dict(pairwise(words))
        run_training(
            *words[:2], words[2], value["-tr"], value["-p"], continue_training=True, device=torch.device("cpu")
        )
        return 0
    from importlib import import_module

    from nnunet_ms.__main__ import COMMANDS

    return int(import_module(COMMANDS[program.removeprefix("nnunet-ms-")][0]).main(words))


def _no_limits(**_: Any) -> Any:
    return nullcontext()


def _nothing(*_: Any, **__: Any) -> None:
    """Stand where nothing is to be done."""


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
