import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from nnunet_ms.checkpoints import check_checksum, load_checkpoint, save_checkpoint, write_checksum
from nnunet_ms.errors import ModelError


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


def rewritten(path, before, after):
    """The same checkpoint with other bytes in its pickle."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            assert not name.endswith("data.pkl") or before in content
            archive.writestr(name, content.replace(before, after) if name.endswith("data.pkl") else content)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_a_bomb_does_not_go_off(tmp_path, zipped):
    path, crater = tmp_path / "c.pth", tmp_path / "crater"
    torch.save({"weights": torch.ones(2), "more": [Bomb(crater)]}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"c\.pth: expected a checkpoint.* found posix\.mkdir; loading it could run"):
        load_checkpoint(path)
    assert not crater.exists()
    torch.load(path, weights_only=False)  # it is live
    assert crater.exists()


def test_a_bomb_of_pickle_alone_does_not_go_off(tmp_path):
    (tmp_path / "c.pth").write_bytes(pickle.dumps({"weights": Bomb(tmp_path / "crater")}))
    with pytest.raises(ModelError, match=r"c\.pth: expected a checkpoint"):
        load_checkpoint(tmp_path / "c.pth")
    assert not (tmp_path / "crater").exists()


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"])
@pytest.mark.parametrize("of_numpy_1", [False, True])
def test_numbers_of_numpy_are_let_through_also_those_of_its_first_version(tmp_path, kind, of_numpy_1):
    # Oracle: torch without the restriction. numpy 1 wrote numpy.core where numpy 2 writes numpy._core.
    path = tmp_path / "c.pth"
    torch.save({"weights": torch.arange(3), "best": np.dtype(kind).type(1)}, path)
    written = b"numpy._core.multiarray\nscalar" if int(np.__version__[0]) > 1 else b"numpy.core.multiarray\nscalar"
    rewritten(path, written, b"numpy.core.multiarray\nscalar" if of_numpy_1 else b"numpy._core.multiarray\nscalar")
    found = load_checkpoint(str(path), ["weights", "best"])
    assert (found["best"], found["best"].dtype) == (1, np.dtype(kind))
    assert torch.equal(found["weights"], torch.arange(3))


def test_tensors_of_a_gpu_come_to_the_cpu(tmp_path):
    path = tmp_path / "c.pth"
    torch.save({"weights": torch.ones(2, 3)}, path)
    rewritten(path, b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:1")  # the place that each storage names
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="on a CUDA device"):
            torch.load(path, weights_only=True)
    weights = load_checkpoint(path)["weights"]
    assert (weights.device.type, weights.sum()) == ("cpu", 6)


@pytest.mark.parametrize(
    "content", [b"", b"no checkpoint at all", pickle.dumps({"a": 1}), b"PK\x03\x04 half an archive"]
)
def test_a_damaged_file_is_one_clear_error(tmp_path, content):
    (tmp_path / "c.pth").write_bytes(content)
    with pytest.raises(
        ModelError, match=r"c\.pth: expected a checkpoint of ours, cannot read it \(.*\)\. Copy it again"
    ):
        load_checkpoint(tmp_path / "c.pth", what="a checkpoint of ours")


def test_half_a_checkpoint(tmp_path):
    torch.save({"weights": torch.ones(10_000)}, tmp_path / "whole.pth")
    (tmp_path / "c.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:20_000])
    with pytest.raises(ModelError, match=r"c\.pth: expected a checkpoint, cannot read it"):
        load_checkpoint(tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, r"expected a checkpoint with \['weights'\], \['weights'\] missing, found \['a'\]"),
        (torch.ones(1), "expected a checkpoint, a dict, found Tensor"),
    ],
)
def test_what_is_something_else_is_named(tmp_path, content, message):
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(ModelError, match=message):
        load_checkpoint(tmp_path / "c.pth", needed=("weights",))


def test_no_file(tmp_path):
    with pytest.raises(ModelError, match=r"c\.pth: expected a checkpoint, found no such file"):
        load_checkpoint(tmp_path / "c.pth")


def test_what_is_allowed_ends_with_the_call(tmp_path):
    torch.save({"best": np.float64(1)}, tmp_path / "c.pth")
    before = set(torch.serialization.get_safe_globals())  # as sets: their order is that of addresses
    load_checkpoint(tmp_path / "c.pth")
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_checksum_is_that_of_sha256sum(tmp_path):
    # Oracle: FIPS 180-2, appendix B.1, "abc".
    path = tmp_path / "weights.pth"
    path.write_bytes(b"abc")
    write_checksum(path)
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  weights.pth\n"
    assert (tmp_path / "weights.pth.sha256").read_text() == expected
    check_checksum(path)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["weights.pth", "weights.pth.sha256"]


@pytest.mark.parametrize("checksum", [True, False])
def test_what_is_saved_comes_back_and_an_older_checksum_does_not_stay(tmp_path, checksum):
    path = tmp_path / "state.pth"
    save_checkpoint({"epoch": 1}, path)
    save_checkpoint({"epoch": 2, "weights": torch.ones(2), "rows": [{"loss": 0.5}]}, path, checksum=checksum)
    loaded = load_checkpoint(path)
    assert (loaded["epoch"], loaded["weights"].tolist(), loaded["rows"]) == (2, [1.0, 1.0], [{"loss": 0.5}])
    assert (tmp_path / "state.pth.sha256").is_file() == checksum


@pytest.mark.parametrize("changed", [b"abd", b"ab", b"abcc", b""])
def test_a_changed_file_is_refused_with_what_to_do(tmp_path, changed):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"abc")
    write_checksum(path)
    path.write_bytes(changed)
    with pytest.raises(ModelError, match=r"expected SHA-256 ba7816bf8f01 as weights\.pth\.sha256 says, .*Copy both"):
        check_checksum(path)
    (tmp_path / "weights.pth.sha256").unlink()
    check_checksum(path)  # nothing is known about it
