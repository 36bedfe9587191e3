"""Trainings whose model is the moving average of their weights."""

import numpy as np
import pytest
import torch

import nnunet_ms.doors.trainers as door
from nnunet_ms.checkpoints import load_checkpoint
from nnunet_ms.trainers.weight_average import AVERAGE, average_share
from tests.trainers.test_construction import DATASET_JSON, construct, make_plans, nnunet_folders  # noqa: F401
from tests.trainers.test_multi_arm_t2 import PATIENTS, preprocessed, train  # noqa: F401 - a fixture

LONG = door.nnUNetTrainerMSMultiArmAnySmallLong


def long_trainer(preprocessed, epochs=3):  # noqa: F811
    trainer = construct(LONG, make_plans(shape=(12, 60, 60)), {**DATASET_JSON, "patients": PATIENTS}, 0)
    trainer.num_epochs, trainer.configuration_manager.configuration["batch_size"] = epochs, 2
    return trainer


def weights(network):
    return torch.cat([one.flatten().float() for one in network.state_dict().values()])


@pytest.mark.slow
def test_the_average_is_the_recursion_and_survives_a_stop(preprocessed, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    seen = []
    step = LONG.train_step

    def watched(self, batch):
        result = step(self, batch)
        seen.append(weights(self.network))
        return result

    monkeypatch.setattr(LONG, "train_step", watched)
    whole = train(long_trainer(preprocessed), 2)
    expected = seen[0]  # the first step's weights, then the shares of the docstring's formula
    for number, now in enumerate(seen[1:], start=1):
        share = average_share(LONG.average_decay, number)
        expected = share * expected + (1 - share) * now
    floating = torch.cat(
        [torch.full((one.numel(),), one.is_floating_point()) for one in whole.network.state_dict().values()]
    )
    found = weights(whole.average.module)
    assert torch.allclose(found[floating], expected[floating], atol=1e-5)
    half = train(long_trainer(preprocessed), 1)
    half.current_epoch -= 1
    half.save_checkpoint(str(tmp_path / "half.pth"))
    resumed = long_trainer(preprocessed)
    resumed.load_checkpoint(str(tmp_path / "half.pth"))
    train(resumed, 2)
    assert torch.allclose(weights(resumed.average.module), found, atol=1e-5)
    whole.on_train_end()
    final = load_checkpoint(f"{whole.output_folder}/checkpoint_final.pth", (AVERAGE,), "the model")
    assert all(torch.equal(final["network_weights"][name], value) for name, value in final[AVERAGE].items())


def test_four_patches_of_ten_lie_on_lesions_the_others_anywhere(preprocessed):  # noqa: F811
    trainer = long_trainer(preprocessed)
    assert (trainer.oversample_foreground_percent, trainer.probabilistic_oversampling) == (0.4, True)


def test_its_loss_is_that_of_nnunet(preprocessed):  # noqa: F811
    logit, lesion = torch.zeros(1, 2, 4, 8, 8), torch.zeros(1, 2, 4, 8, 8)
    lesion[:, 0, :2] = 1
    loss = long_trainer(preprocessed)._loss(1.0)(logit, lesion)
    assert float(loss) == pytest.approx(0.5 + np.log(2), abs=1e-5)  # Dice of one half, and a coin's cross-entropy
