"""`nnunet-ms-learning-curve`: what few labelled studies give, fine-tuned from a source model and trained de novo."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ms.commands import OK, SOME_CASES_FAILED, dask_cluster, parser, report_failures, run

if TYPE_CHECKING:
    from nnunet_ms.learning.curve import LearningCurve

PROGRAM = "nnunet-ms-learning-curve"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; it needs no library beyond Python's own."""
    command = parser(
        PROGRAM,
        "Train on few and on more studies, fine-tuned from a source model and de novo; test on the other studies, "
        "compare as Wahlig et al. (2023) do, and draw the curve. What is done is not done again.",
        f"{PROGRAM} 816 --source results/Dataset810_Tumours/.../fold_0/checkpoint_final.pth --gpus 0,1",
    )
    command.add_argument("dataset", metavar="DATASET_ID", help="number or name of a preprocessed nnU-Net dataset")
    command.add_argument("--source", type=Path, metavar="CKPT", help="checkpoint that fine-tuning begins with")
    command.add_argument("--policy", default="all", help="taken from it: all, all_but_head or encoder (%(default)s)")
    command.add_argument("--sizes", type=_numbers, metavar="N,N", help="training studies (all multiples of a subset)")
    command.add_argument("--arms", default="FT,DN", help="FT: fine-tuned, DN: de novo (%(default)s)")
    command.add_argument(
        "--task", default="flair", help="flair, new or enhancing: whose published numbers stand beside (%(default)s)"
    )
    command.add_argument("--label", help="name of the label in dataset.json, where there are several")
    command.add_argument("--grader2", type=Path, metavar="DIR", help="a second grader's masks of the first subset")
    command.add_argument(
        "--default-masks",
        type=Path,
        metavar="DIR",
        help="the default model's masks, instead of predicting with --source",
    )
    _add_training(command)
    command.add_argument("--data-note", dest="note", default="", help="what the data are, such as real or simulated")
    command.add_argument("--dry-run", action="store_true", help="print the trainings as a shell script, do nothing")
    command.add_argument("-o", "--out", type=Path, help="folder to fill (learning_curve/DATASET_TASK)")
    return command


def _add_training(command: argparse.ArgumentParser) -> None:
    training = command.add_argument_group("training")
    training.add_argument("--trainers", type=_pairs, metavar="ARM=NAME,...", help="trainers of the arms")
    training.add_argument("-c", "--configuration", default="3d_fullres", help="configuration (%(default)s)")
    training.add_argument("-p", "--plans", default="nnUNetPlansMS", help="plans (%(default)s)")
    training.add_argument("-device", "--device", default="cuda", help="cuda, cpu or mps (%(default)s)")
    training.add_argument("--no-tta", dest="tta", action="store_false", help="predict without mirrored images")
    places = training.add_mutually_exclusive_group()
    places.add_argument("--gpus", type=_numbers, default=(), metavar="G,G", help="GPUs that train side by side")
    places.add_argument(
        "--dask", type=dask_cluster, metavar="ADDRESS", help="a Dask cluster: tcp://host:8786, or local:N"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if something could not be trained or scored, or 2 if nothing could be done."""
    remains = "What is trained is kept. Repeat the command to go on."
    return run(PROGRAM, lambda: _learn(build_parser().parse_args(argv)), remains)


def _learn(arguments: argparse.Namespace) -> int:
    from nnunet_ms.learning.curve import learning_curve, notes, open_source, plan_learning_curve  # pandas, matplotlib
    from nnunet_ms.learning.plan import check_place, script
    from nnunet_ms.learning.runs import is_trained

    options = vars(arguments)
    is_dry, dask = options.pop("dry_run"), options.pop("dask")
    options["arms"] = [arm.strip() for arm in options["arms"].split(",") if arm.strip()]
    if is_dry:
        plan = plan_learning_curve(**options)
        check_place(plan)  # what another curve has trained is none of this one's
        open_source(plan)
        known = [f"# {line}" for line in notes(plan)]
        print(*known, *script(plan, {one.name: is_trained(plan, one) for one in plan.runs}), sep="\n")
        return OK
    found = learning_curve(**options, dask=dask, say=lambda line: print(line, flush=True))
    print(_summary(found))
    report_failures(found.failures, PROGRAM)
    return SOME_CASES_FAILED if found.failures else OK


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers with commas between, found {text!r}") from None


def _pairs(text: str) -> dict[str, str]:
    pairs = {}
    for part in text.split(","):
        arm, sign, name = (piece.strip() for piece in part.partition("="))
        if not (arm and sign and name):
            raise argparse.ArgumentTypeError(f"expected such as FT=nnUNetTrainerMSFineTuneSmall, found {part!r}")
        pairs[arm] = name
    return pairs


def _summary(found: "LearningCurve") -> str:
    lines = [f"{'metric':<12}{'model':<10}{'mean':>6}   {'SE':>5}{'n':>5}{'undefined':>11}{'published':>11}"]
    for row in found.means.itertuples():
        model = row.arm if row.arm in ("default", "grader") else f"{row.arm} {row.size}"
        ours = f"{_number(row.mean):>6}   {_number(row.se):>5}{row.n:>5}{row.n_undefined:>11}"
        lines.append(f"{row.metric:<12}{model:<10}{ours}{_number(row.published_mean):>11}")
    stars = found.comparisons[found.comparisons["starred"].fillna(value=False).astype(bool)]
    for row in stars.itertuples():
        p = f"p = {row.p:.4f} x {row.comparisons}"
        lines.append(f"{row.metric}: {row.first} against {row.second}, {p}, differs by {row.difference:+.3f}")
    done = int(found.runs["done"].sum())
    lines.append(f"{done} of {len(found.runs)} trainings: {found.out}")
    return "\n".join(lines)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
