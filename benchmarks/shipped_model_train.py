"""Train one stage of the model that comes with the package: a fold of `splits_final.json`, from the weights of another.

Resumes after a kill. One thread unless `--threads` says otherwise; nnU-Net would take every core.

    python benchmarks/shipped_model_train.py 910 5 --epochs 90
    python benchmarks/shipped_model_train.py 910 0 --epochs 36 --from-fold 5 --rate 0.0015 --decay 0.998
    nnUNet_results=second python benchmarks/shipped_model_train.py 910 0 --epochs 70 --rate 0.001 --decay 0.997 \
        --from-file first/.../fold_0/checkpoint_final.pth --as-acquired 0.75 --keep-all 0.6
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


def checkpoint_of(folder: Path) -> Path:
    """Return the last checkpoint of a fold that is finished, or that was stopped."""
    last = folder / "checkpoint_final.pth"
    return last if last.is_file() else folder / "checkpoint_latest.pth"


def train(trainer: Trainer, epochs: int, start: Path | None, threads: int) -> None:
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
        if start is not None:
            known = load_checkpoint(start, ("network_weights",), "weights to begin with")
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
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--from-fold", type=int, help="of the same results")
    begin.add_argument("--from-file", type=Path, help="checkpoint of any results")
    parser.add_argument("--rate", type=float)
    parser.add_argument(
        "--decay", type=float, default=Trainer.average_decay, help="of the average, for short trainings"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--as-acquired", type=float, default=Trainer.as_acquired)
    parser.add_argument("--keep-all", type=float, default=Trainer.keep_all)
    args = parser.parse_args()
    for kind in vars(nnunet_logger).values():
        if hasattr(kind, "plot_progress_png"):
            kind.plot_progress_png = lambda *_, **__: None  # a second each epoch
    Trainer.average_decay, Trainer.as_acquired, Trainer.keep_all = args.decay, args.as_acquired, args.keep_all
    trainer = trainer_of(args.dataset, args.fold, args.schedule or args.epochs, args.rate)
    start = args.from_file
    if args.from_fold is not None:
        start = checkpoint_of(Path(trainer.output_folder).with_name(f"fold_{args.from_fold}"))
    train(trainer, args.epochs, start, args.threads)


if __name__ == "__main__":
    main()
