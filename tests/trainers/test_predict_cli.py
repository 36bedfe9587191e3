import pytest

from nnunet_ms.trainers import predict_cli


def test_options_spelled_out_for_the_help_are_the_real_ones():
    from nnunet_ms.trainers.networks.dropout import SITES
    from nnunet_ms.trainers.prediction.export import MAPS

    assert predict_cli.SITES == SITES
    assert predict_cli.MAPS == MAPS


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        predict_cli.main(["--help"])
    assert "nnunet-ms-predict -i imagesTs -o predictions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "expected -d and -tr, or -m"),
        (("-m", "model", "--maps", "entropy,colour"), "--maps: expected names out of"),
        (("-m", "model", "-device", "tpu"), "-device: expected one of"),
        (("-m", "no_such_folder", "-device", "cpu"), "plans.json: no such file"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(tmp_path, capsys, options, message):
    assert predict_cli.main(["-i", str(tmp_path), "-o", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
