"""`nnunet-ms-model`: trained models as single files, with card, licence and hashes."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms import commands

if TYPE_CHECKING:
    from nnunet_ms.trainers.prediction.calibration_file import ModelCalibration

PROGRAM = "nnunet-ms-model"
EXAMPLES = {
    "card": "MODEL_FOLDER -o CARD.md --name lesions3t",
    "range": "MODEL_FOLDER --raw nnUNet_raw/Dataset801_Lesions",
    "calibrate": "MODEL_FOLDER",
    "pack": "MODEL_FOLDER -o packed --name lesions3t --licence CC-BY-4.0 --card CARD.md --half",
    "install": "packed/lesions3t-1.model.zip",
    "list": "",
    "show": "lesions3t",
    "check": "lesions3t",
}
FOLDER = "MODEL_FOLDER is TRAINER__PLANS__CONFIGURATION below a dataset of nnU-Net's results."


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; it needs no library beyond Python's own."""
    parser = commands.parser(
        PROGRAM,
        f"Trained models as single files, with card, licence and hashes. {FOLDER}",
        "\n  ".join(f"{PROGRAM} {name} {example}".rstrip() for name, example in EXAMPLES.items()),
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    _add_card(steps)
    _add_range(steps)
    _add_calibrate(steps)
    _add_pack(steps)
    install = steps.add_parser("install", help="put a packed model where its name is enough")
    install.add_argument("path", type=Path, metavar="FILE", help="*.model.zip")
    install.add_argument("--replace", action="store_true", help="replace the same name and version")
    install.set_defaults(action=_install)
    steps.add_parser("list", help="installed models, and those of other packages").set_defaults(action=_list)
    show = steps.add_parser("show", help="the card of a model")
    show.add_argument("model", metavar="MODEL", help="name, name==version, or packed file")
    show.set_defaults(action=_show)
    check = steps.add_parser("check", help="hashes, safe loading, one pass of the network")
    check.add_argument("model", metavar="MODEL", help="name, name==version, packed file, or folder")
    check.set_defaults(action=_check)
    commands.add_examples(PROGRAM, steps, EXAMPLES)
    return parser


def _add_card(steps: "argparse._SubParsersAction[Any]") -> None:
    card = steps.add_parser("card", help="begin a model card: what the files tell stands there", description=FOLDER)
    _add_model(card)
    card.add_argument("-o", "--output", type=Path, required=True, help="Markdown to write; none is replaced")
    card.add_argument("--licence", default="", help="of the weights (SPDX), if it is known already")
    card.set_defaults(action=_card)


def _add_range(steps: "argparse._SubParsersAction[Any]") -> None:
    seen = steps.add_parser(
        "range", help="measure what the training has seen, to tell scans unlike it", description=FOLDER
    )
    seen.add_argument("model", type=Path, metavar="MODEL_FOLDER", help="TRAINER__PLANS__CONFIGURATION")
    seen.add_argument("--raw", type=Path, required=True, help="dataset below nnUNet_raw, on which it was trained")
    seen.add_argument("-tr", "--trainer", default="", help="default: the first part of the folder's name")
    seen.set_defaults(action=_range)


def _add_calibrate(steps: "argparse._SubParsersAction[Any]") -> None:
    calibrate = steps.add_parser(
        "calibrate",
        help="volumes with intervals, from cases that the model has not seen",
        description=f"{FOLDER} Without --cases and --predicted the probabilities of fold_X/validation are used, which "
        "nnUNetv2_train ... --val --npz writes.",
    )
    calibrate.add_argument("folder", type=Path, metavar="MODEL_FOLDER", help="TRAINER__PLANS__CONFIGURATION")
    calibrate.add_argument(
        "--cases", type=Path, metavar="TABLE", help="case_id, patient_id, expected_volume_ml, reference_volume_ml"
    )
    calibrate.add_argument(
        "--predicted", type=Path, nargs="+", default=(), metavar="OUT", help="output folders of nnunet-ms-predict"
    )
    calibrate.add_argument(
        "--references", type=Path, metavar="MASKS", help="folder of reference masks (default: nnU-Net's)"
    )
    calibrate.add_argument("-f", "--folds", nargs="+", metavar="FOLD", help="whose validation is used (all that exist)")
    calibrate.add_argument("-chk", "--checkpoint", default="checkpoint_final.pth", help="in each fold (%(default)s)")
    calibrate.add_argument("--level", type=float, default=0.9, help="of the interval (%(default)s)")
    calibrate.add_argument(
        "--offset-ml", type=float, default=0.1, help="added to volumes before logarithms (%(default)s)"
    )
    calibrate.set_defaults(action=_calibrate)


def _add_pack(steps: "argparse._SubParsersAction[Any]") -> None:
    pack = steps.add_parser("pack", help="a trained model becomes one file", description=FOLDER)
    _add_model(pack)
    pack.add_argument(
        "-o", "--output", type=Path, required=True, help="file *.zip, or folder for NAME-VERSION.model.zip"
    )
    pack.add_argument("--licence", required=True, help="of the weights, as SPDX names it, such as CC-BY-4.0")
    pack.add_argument("--card", type=Path, required=True, help="the model card, filled in (begin it with `card`)")
    pack.add_argument("--half", action="store_true", help="weights in half precision: half the size")
    pack.set_defaults(action=_pack)


def _add_model(to: argparse.ArgumentParser) -> None:
    to.add_argument("folder", type=Path, metavar="MODEL_FOLDER", help="TRAINER__PLANS__CONFIGURATION")
    to.add_argument("--name", required=True, help="name under which it is installed")
    to.add_argument("--version-of-model", dest="version", default="1", metavar="V", help="default: %(default)s")
    to.add_argument("--title", default="", help="one line for lists (default: the name)")
    to.add_argument("-f", "--folds", nargs="+", metavar="FOLD", help="0 1 2 ... or all (all numbered ones that exist)")
    to.add_argument("-chk", "--checkpoint", default="checkpoint_final.pth", help="file in each fold (%(default)s)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a step; exit code 0, 1 (`list`: some cannot be read) or 2 (could not run)."""

    def act() -> int:
        options = vars(build_parser().parse_args(argv))
        action = options.pop("action")
        options.pop("step")
        code: int = action(options)
        return code

    return commands.run(PROGRAM, act, "Nothing was changed. Repeat the command.")


def _card(options: dict[str, Any]) -> int:
    from nnunet_ms.trainers.pack_model import draft_model_card

    draft_model_card(**options)
    print(f"{options['output']}: fill in what is marked <fill in: ...>, then nnunet-ms-model pack.")
    return commands.OK


def _range(options: dict[str, Any]) -> int:
    from nnunet_ms.trainers.training_range import RANGE, write_training_range

    for name, text in write_training_range(**options).words().items():
        print(f"{name}: {text}")
    print(f"{options['model'] / RANGE}: carried by nnunet-ms-model pack.")
    return commands.OK


def _calibrate(options: dict[str, Any]) -> int:
    from nnunet_ms.trainers.calibrate_volumes import calibrate_model

    done = calibrate_model(**options)
    for note in done.notes:
        print(f"{PROGRAM}: {note}")
    for line in done.calibration.lines():
        print(line)
    print(f"{done.path}: predictions of this model now have calibrated volumes, and nnunet-ms-model pack carries them.")
    return commands.OK


def _pack(options: dict[str, Any]) -> int:
    from nnunet_ms.trainers.pack_model import pack_model

    packed = pack_model(**options)
    for note in packed.notes:
        print(f"{PROGRAM}: {note}")
    size = packed.path.stat().st_size / 1e6
    print(f"{packed.path}: {packed.facts.reference}, {size:.1f} MB. Install it: {PROGRAM} install {packed.path}")
    return commands.OK


def _install(options: dict[str, Any]) -> int:
    from nnunet_ms.trainers.pack_model import install_model

    found = install_model(**options)
    facts, use = found.facts, f"nnunet-ms-predict -m {found.facts.name} -i IMAGES -o OUT"
    print(f"{facts.reference} ({facts.licence}): {found.folder}. Use it: {use}")
    return commands.OK


def _list(_: dict[str, Any]) -> int:
    from nnunet_ms.errors import visible
    from nnunet_ms.trainers.packages.installed import installed_models, models_folder

    models, broken = installed_models()
    for one in models:
        facts = one.facts
        print(f"{facts.reference}\t{', '.join(facts.channels)}\t{facts.licence}\t{one.source}\t{visible(facts.title)}")
    for lost in broken:
        print(f"{PROGRAM}: {lost.where}: {lost.reason}. Install it again, or remove it.")
    if not models and not broken:
        print(f"No model is installed in {models_folder()}, and no other package brings one.")
    return commands.SOME_CASES_FAILED if broken else commands.OK


def _show(options: dict[str, Any]) -> int:
    from nnunet_ms.trainers.packages.archive import opened_archive
    from nnunet_ms.trainers.packages.installed import find_model
    from nnunet_ms.trainers.prediction.calibration_file import FILE, parse_calibration, read_calibration

    path = Path(options["model"])
    if path.is_file():
        with opened_archive(path) as packed:
            print(packed.card)
            data = packed.content(FILE)
            calibration = None if data is None else parse_calibration(data, f"{path}: {FILE}")
        _print_lines(calibration)
        return commands.OK
    found = find_model(options["model"])
    print(found.card)
    _print_lines(read_calibration(found.folder))
    print(f"{found.facts.reference}, {found.source}: {found.folder}")
    return commands.OK


def _print_lines(calibration: "ModelCalibration | None") -> None:
    for line in [] if calibration is None else calibration.lines():
        print(line)


def _check(options: dict[str, Any]) -> int:
    from nnunet_ms.trainers.check_models import check_model

    checked = check_model(**options)
    for line in checked.found:
        print(line)
    print(f"{checked.folder}: nothing is wrong.")
    return commands.OK


if __name__ == "__main__":
    raise SystemExit(main())
