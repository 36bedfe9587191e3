import pytest

from nnunet_ms.trainers import predict_cli


def test_options_spelled_out_for_the_help_are_the_real_ones():
    from nnunet_ms.trainers.networks.dropout import SITES
    from nnunet_ms.trainers.prediction.case_measures import MAPS

    assert predict_cli.SITES == SITES
    assert predict_cli.MAPS == MAPS


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        predict_cli.main(["--help"])
    assert "nnunet-ms-predict -i imagesTs -o predictions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "model: expected its folder (-m), or dataset and trainer (-d and -tr), found neither"),
        (("-m", "model", "-device", "tpu"), "device: expected one of"),
        (("-m", "no/such_folder", "-device", "cpu"), "plans.json: no such file"),
        (("-m", "no_such_folder", "-device", "cpu"), "expected the name of an installed model or a folder"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(tmp_path, capsys, options, message):
    assert predict_cli.main(["-i", str(tmp_path), "-o", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_map_is_refused_before_anything_is_loaded(capsys):
    with pytest.raises(SystemExit, match="2"):
        predict_cli.main(["-i", "images", "-o", "out", "-m", "model", "--maps", "entropy,colour"])
    assert "argument --maps: expected names out of entropy," in capsys.readouterr().err


def test_every_option_is_an_argument_of_the_function_with_its_default():
    # the command calls `predict(**vars(arguments))`
    from inspect import signature

    from nnunet_ms.trainers.prediction.predict import predict

    options = vars(predict_cli.build_parser().parse_args(["-i", "images", "-o", "out"]))
    arguments = {name: argument.default for name, argument in signature(predict).parameters.items()}
    assert set(options) == set(arguments) - {"say"}
    differing = {name for name, value in options.items() if value != arguments[name]}
    assert differing == {"images", "out", "device"}  # required; the command does not choose a device by itself
