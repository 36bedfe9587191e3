import threading

import pytest

from nnunet_ms.errors import SettingsError
from nnunet_ms.locks import locked, sole_run
from nnunet_ms.outputs import resumable_folder, whole_folder


@pytest.mark.parametrize("hold", [sole_run, whole_folder, resumable_folder])
def test_the_second_run_is_refused_and_leaves_the_first_alone(tmp_path, hold):
    target = tmp_path / "deep" / "out"
    with hold(target):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SettingsError, match="out: another run is writing it"), hold(target):
            pass
        assert sorted(tmp_path.rglob("*")) == before
    with hold(target.with_name("later")):
        pass
    assert [path for path in tmp_path.rglob(".*") if path.name != "."] == []


def test_a_folder_made_for_nothing_goes(tmp_path):
    with sole_run(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_of_many_holds_the_lock_at_a_time(tmp_path):
    # Oracle: a plain counter that only its holder may raise. Threads open files of their own, as processes do.
    inside, most, held = [], [], []

    def compete():
        for _ in range(300):
            try:
                with locked(tmp_path / "lock", tmp_path / "out"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    held.append(1)
            except SettingsError:
                continue

    threads = [threading.Thread(target=compete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(held) > 10
    assert list(tmp_path.iterdir()) == []
