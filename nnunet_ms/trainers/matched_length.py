"""Training as long as the number of studies asks for, the same for fine-tuned and de novo models.

Wahlig et al. (Front Neurosci 17:1188336, 2023) show each study's 60 patches, in three augmentations, 30 times: 5400
presentations per study. In nnU-Net's epochs of 250 batches of 2 that is 10.8 N epochs for N studies. nnU-Net trains
for a fixed time, and a comparison of 10 and 50 studies would be one of their repetitions too.
"""

from typing import ClassVar

from nnunet_ms.trainers.safe_training import SafeTraining

PRESENTATIONS = 60 * 3 * 30  # the paper's, per study


def matched_epochs(studies: int, presentations_per_study: int, patches_per_epoch: int) -> int:
    """Epochs in which each study is shown as often as it should be, at least one; rounded up.

    Examples
    --------
    >>> [matched_epochs(n, PRESENTATIONS, patches_per_epoch=250 * 2) for n in (10, 20, 30, 40, 50)]
    [108, 216, 324, 432, 540]
    """
    return max(1, -(-studies * presentations_per_study // patches_per_epoch))


class MatchedLength(SafeTraining):
    """Sets the number of epochs when the training begins, or goes on, from its number of training cases."""

    presentations_per_study: ClassVar[int | None] = PRESENTATIONS  # None: the class's number of epochs stays

    def on_train_start(self) -> None:
        """Set the length, then start; the learning rate follows the epochs that there will be."""
        if not self.was_initialized:
            self.initialize()
        self._match_length()
        super().on_train_start()

    def _match_length(self) -> None:
        if self.presentations_per_study is None:
            return
        studies = len(self.do_split()[0])
        batch = int(self.configuration_manager.batch_size)  # over all GPUs
        patches = self.num_iterations_per_epoch * batch
        self.num_epochs = matched_epochs(studies, self.presentations_per_study, patches)
        self.lr_scheduler.max_steps = self.num_epochs
        self.print_to_log_file(
            f"{studies} training cases, {self.presentations_per_study} patches of each: {self.num_epochs} epochs of "
            f"{self.num_iterations_per_epoch} batches of {batch}."
        )
