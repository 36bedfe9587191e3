"""Seconds, device and memory of a prediction. Oracles: the caller's own clock, `getrusage`, sums by hand, torch."""

import json
import time

import pandas as pd
import pytest
import torch

from nnunet_ms.memory import peak_memory_mb
from nnunet_ms.tables import PREDICTED_CASES, read_table
from nnunet_ms.trainers.prediction import time_taken
from nnunet_ms.trainers.prediction.predict import predict
from nnunet_ms.trainers.prediction.time_taken import COLUMNS, Cost, Stopwatch, device_words, summary

NAN = float("nan")


@pytest.fixture(scope="module")
def predicted(model_folder, image_folder, tmp_path_factory):
    """The output folder of a small prediction, and how long the whole took by the caller's clock."""
    out, started = tmp_path_factory.mktemp("timed") / "out", time.monotonic()
    predict(image_folder, out, model=model_folder, folds=0, mc_samples=0, pictures=False, device="cpu")
    return out, time.monotonic() - started


def test_every_case_says_its_seconds_device_and_memory(predicted):
    out, elapsed = predicted
    cases = read_table(out / "cases.csv", PREDICTED_CASES)
    assert set(COLUMNS) <= set(cases)
    steps = cases[["prepare_s", "predict_s", "write_s"]]
    assert (steps >= 0).all(axis=None)
    assert cases["case_s"].to_numpy() == pytest.approx(steps.sum(axis=1).to_numpy())
    assert (cases[["predict_s", "write_s"]].sum(axis=1).sum()) <= elapsed  # one after the other, within the whole
    assert set(cases["device"]) == {f"cpu ({torch.get_num_threads()} threads)"}
    assert cases["peak_gpu_memory_mb"].isna().all()
    assert (cases["peak_memory_mb"] > 50).all()  # torch alone takes more


def test_the_record_says_it_by_device(predicted):
    out, _ = predicted
    cases, record = pd.read_csv(out / "cases.csv"), json.loads((out / "prediction.json").read_text())
    (row,) = record["time"]
    assert (row["device"], row["cases"], row["peak_gpu_memory_mb"]) == (cases["device"][0], 2, None)
    ordered = sorted(cases["case_s"])
    assert row["case_s"] == pytest.approx({"median": sum(ordered) / 2, "minimum": ordered[0], "maximum": ordered[1]})
    assert row["peak_memory_mb"] == cases["peak_memory_mb"].max()


@pytest.mark.parametrize("steps", [(1.0, 2.0, 4.0), (0.0, 0.25, 0.0), (120.0, 60.5, 3.5)])
def test_the_seconds_of_a_case_are_the_sum_of_its_steps(steps):
    prepare, predicting, write = steps
    assert Cost(prepare, predicting, "cpu", NAN, NAN).columns(write)["case_s"] == sum(steps)


def test_devices_are_told_apart_and_lesion_types_count_once():
    frame = pd.DataFrame(
        {
            "case_id": ["a", "a", "b", "c"],
            "lesion_type": ["x", "y", "x", "x"],
            "device": ["cuda:0 (G)", "cuda:0 (G)", "cpu (2 threads)", "cuda:0 (G)"],
            **dict.fromkeys(("prepare_s", "predict_s", "write_s"), 1.0),
            "case_s": [3.0, 3.0, 90.0, 5.0],
            "peak_memory_mb": [10.0, 10.0, 30.0, 20.0],
            "peak_gpu_memory_mb": [7.0, 7.0, NAN, 6.0],
        }
    )
    cpu, gpu = summary(frame)
    assert (cpu["device"], cpu["cases"], cpu["case_s"]["median"], cpu["peak_gpu_memory_mb"]) == (
        "cpu (2 threads)",
        1,
        90.0,
        None,
    )
    assert (gpu["cases"], gpu["case_s"]["median"], gpu["peak_memory_mb"], gpu["peak_gpu_memory_mb"]) == (2, 4.0, 20, 7)


def test_cases_of_an_earlier_version_are_told_apart():
    cost = Cost(1, 2, "cpu (1 threads)", NAN, NAN).columns(3)
    new, old = summary(pd.DataFrame([{"case_id": "new", **cost}, {"case_id": "old"}]))
    assert (old["device"], old["cases"], old["case_s"]["median"]) == ("not recorded", 1, None)
    assert (new["cases"], new["case_s"]["median"]) == (1, 6.0)
    (alone,) = summary(pd.DataFrame([{"case_id": "old"}]))
    assert alone["device"] == "not recorded"


def test_a_gpu_is_asked_for_its_own_memory_and_its_name(monkeypatch):
    # Oracle: what the calls of torch are made to answer; on a machine with a GPU the next test asks torch itself.
    gpu, asked = torch.device("cuda:1"), []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", asked.append)
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 3_500_000_000 * (device == gpu))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: {gpu: "NVIDIA V100"}[device])
    cost = Stopwatch(gpu).cost(2.0, gpu)
    assert (cost.device, cost.peak_gpu_memory_mb) == ("cuda:1 (NVIDIA V100)", 3500.0)
    assert asked == [gpu, gpu]  # its peak begins with the case, and its work has ended when the time is taken
    assert Stopwatch(gpu).cost(2.0, torch.device("cpu")).device.startswith("cpu (")  # the GPU was too small


def test_the_larger_peak_of_two_processes_counts(monkeypatch):
    monkeypatch.setattr(time_taken, "peak_memory_mb", lambda: 300.0)  # of the process that writes
    assert Cost(1, 1, "cpu", 500.0, NAN).columns(1)["peak_memory_mb"] == 500.0
    assert Cost(1, 1, "cpu", 200.0, NAN).columns(1)["peak_memory_mb"] == 300.0


def test_the_peak_of_this_process_is_that_of_getrusage():
    # Oracle: getrusage(2), which also counts what the process was before exec, so it can only be larger. The kernel
    # counts pages per processor and rounds, hence 2 %.
    resource = pytest.importorskip("resource")
    held = bytearray(50_000_000)
    before = peak_memory_mb()
    assert 50 < before <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6 * 1.02
    del held
    assert peak_memory_mb() >= 0.98 * before  # a peak does not fall


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_says_its_name_and_its_memory():
    device = torch.device("cuda:0")
    watch = Stopwatch(device)
    torch.zeros(64 << 20, device=device)  # 256 MiB of float32
    cost = watch.cost(0.0, device)
    assert cost.peak_gpu_memory_mb >= 4 * (64 << 20) / 1e6
    assert device_words(device) == f"cuda:0 ({torch.cuda.get_device_name(0)})"
