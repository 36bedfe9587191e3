"""Train one stage of the model that comes with the package: a fold of `splits_final.json`, from the weights of another.

Resumes after a kill. One thread unless `--threads` says otherwise; nnU-Net would take every core.

    python benchmarks/shipped_model_train.py 910 5 --epochs 90
    python benchmarks/shipped_model_train.py 910 0 --epochs 36 --from-fold 5 --rate 0.0015 --decay 0.998
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("nnUNet_n_proc_DA", "0")  # before nnU-Net is imported: augmentation in this process

import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.training.logging import nnunet_logger
from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

from nnunet_ms.checkpoints import load_checkpoint
from nnunet_ms.trainers.any_sequence import nnUNetTrainerMSMultiArmAnySmallLong as Trainer
from nnunet_ms.trainers.weight_average import AVERAGE

PLANS = "nnUNetPlansMS"


def trainer_of(dataset: str, fold: int, schedule: int, rate: float | None) -> Trainer:
    """Return a trainer of one fold that is not initialised yet, with the rates of `schedule` epochs."""
    folder = Path(str(nnUNet_preprocessed)) / maybe_convert_to_dataset_name(int(dataset))
    plans = {**load_json(str(folder / f"{PLANS}.json")), "continue_training": True}
    trainer = Trainer(plans, "3d_fullres", fold, load_json(str(folder / "dataset.json")), torch.device("cpu"))
    trainer.num_epochs = schedule
    trainer.initial_lr = rate or trainer.initial_lr
    return trainer


def train(trainer: Trainer, epochs: int, from_fold: int | None, threads: int) -> None:
    """Train, or go on with, one fold; a finished one is left alone."""
    folder = Path(trainer.output_folder)
    if (folder / "checkpoint_final.pth").is_file():
        print(f"{folder}: finished already")
        return
    latest = folder / "checkpoint_latest.pth"
    if latest.is_file():
        trainer.load_checkpoint(str(latest))
    else:
        trainer.initialize()
        if from_fold is not None:
            source = folder.with_name(f"fold_{from_fold}")
            stopped, last = source / "checkpoint_latest.pth", source / "checkpoint_final.pth"
            known = load_checkpoint(last if last.is_file() else stopped, ("network_weights",), "weights to begin with")
            weights = known.get(AVERAGE, known["network_weights"])
            trainer.network.load_state_dict(weights)
            trainer.average.module.load_state_dict(weights)
            trainer.average.n_averaged.fill_(1000)  # an average of that many steps is there
    torch.set_num_threads(threads)
    trainer.num_epochs = epochs  # the schedule of the rate stands by now
    trainer.run_training()


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("fold", type=int)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--schedule", type=int, help="epochs of the schedule of the rate (default: --epochs)")
    parser.add_argument("--from-fold", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument(
        "--decay", type=float, default=Trainer.average_decay, help="of the average, for short trainings"
    )
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    for kind in vars(nnunet_logger).values():
        if hasattr(kind, "plot_progress_png"):
            kind.plot_progress_png = lambda *_, **__: None  # a second each epoch
    Trainer.average_decay = args.decay
    trainer = trainer_of(args.dataset, args.fold, args.schedule or args.epochs, args.rate)
    train(trainer, args.epochs, args.from_fold, args.threads)


if __name__ == "__main__":
    main()
