"""The source reaches every process of a training on several devices: two processes, gloo, on CPU.

nnU-Net starts DDP on CUDA alone; here each process makes the trainer as `run_ddp` does, on the CPU. Oracle: the
weights of the source's file.
"""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

from nnunet_ms.checkpoints import sha256_of
from tests.trainers.test_construction import nnunet_folders  # noqa: F401
from tests.trainers.test_fine_tune import checkpoint, plain_command  # noqa: F401

PROCESS = """
import os, sys
from pathlib import Path
import torch
import torch.distributed as dist
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
import nnunet_ms.doors.trainers as door
from tests.trainers.test_construction import DATASET_JSON, construct, make_plans

rank, out, source = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
sys.argv = ["nnUNetv2_train"]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{out / 'meeting'}", rank=rank, world_size=2)
wrap = torch.nn.parallel.DistributedDataParallel
nnUNetTrainer.initialize.__globals__["DDP"] = lambda network, device_ids: wrap(network)  # device_ids are CUDA's
torch.nn.SyncBatchNorm.convert_sync_batchnorm = staticmethod(lambda network: network)  # and so is this layer
for by in ("environment", "plans"):
    plans = make_plans(shape=(12, 60, 60))
    if by == "environment":
        os.environ["NNUNET_MS_SOURCE"] = source
    else:
        del os.environ["NNUNET_MS_SOURCE"]
        plans["nnunet_ms"] = {"source": source}
    trainer = construct(door.nnUNetTrainerMSFineTuneTiny, plans, DATASET_JSON)
    trainer.device = torch.device("cpu")
    trainer.seed = None
    torch.manual_seed(rank)  # what a process would begin with otherwise
    trainer.initialize()
    assert trainer.is_ddp and trainer.local_rank == rank and isinstance(trainer.network, wrap)
    found = {"weights": trainer.network.module.state_dict(), "share": trainer.source_report.share}
    torch.save({**found, "plans": trainer.plans_manager.plans}, out / f"{by}_{rank}.pth")
    dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("nnunet_folders")
def test_both_processes_begin_with_the_sources_weights(tmp_path):
    theirs, path = checkpoint(tmp_path, "nnUNetTrainerMSBalancedTiny")
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(tmp_path), str(path)],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(told)
    expected = theirs.network.state_dict()
    for rank, by in product(range(2), ("environment", "plans")):
        found = torch.load(tmp_path / f"{by}_{rank}.pth", weights_only=True)
        assert found["weights"].keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in found["weights"].items())
        assert found["share"] == 1.0
        named = {"environment": None, "plans": {"source": path.name, "sha256": sha256_of(path)}}
        assert found["plans"].get("nnunet_ms") == named[by]
    assert [text.count("100.0% of what it asks for") for text in told] == [2, 0]  # reports of the first process alone
