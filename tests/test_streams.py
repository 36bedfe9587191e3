import io
import os
import sys

from nnunet_ms.streams import Forgiving, forgiving_streams


def broken_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def test_the_first_fault_is_kept_and_the_rest_goes_nowhere():
    with broken_pipe() as stream:
        forgiving = Forgiving(stream)
        assert forgiving.write("x") == 1
        forgiving.flush()
        assert forgiving.nobody_reads
        assert forgiving.write("yz") == 2
        forgiving.flush()  # and closing the stream raises nothing


def test_the_rest_of_a_stream_is_its_own():
    stream = io.StringIO()
    assert Forgiving(stream).getvalue() == ""
    assert not Forgiving(stream).nobody_reads


def test_the_streams_are_as_they_were_afterwards(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)  # as Python has it when the shell closed it
    before = sys.stdout
    with forgiving_streams() as output:
        assert sys.stdout is output
        print("nowhere", file=sys.stderr)
        assert not sys.stderr.isatty()
    assert sys.stdout is before
    assert sys.stderr is None
