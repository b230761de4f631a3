"""The DataModule: data loaders for the three splits."""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
# ~ if cookiecutter.scope == "complete"
from multiprocessing.reduction import ForkingPickler
# ~ endif
from threading import Thread
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor, distributed
# ~ if cookiecutter.scope == "complete"
from torch.multiprocessing.reductions import reduce_tensor
# ~ endif
from torch.utils.data import DataLoader

from ..errors import UsageError
from ..settings.schema import LoaderSettings
from .images import UnreadableImageError
from .reading_summary import Reading
from .sampler import SeededSamples, TrainingSampler

MAX_WORKERS = 8


@dataclass(frozen=True)
class Datasets:
    """The three splits of the data, their class names, and the function that collates a batch."""

    train: Any  # map-style data sets that apply ``transform`` to the images of ``paths``
    val: Any
    test: Any
    classes: Sequence[str]
    collate: Callable[[list[Any]], Any]
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "segmentation"
    weights: Tensor | None = None  # float64 [training images], see ``image_weights``
    # ~ endif
    # ~ if cookiecutter.task == "segmentation"
    mask_checks: Any = field(default_factory=dict)  # a ``MaskCheck`` by split, of mask files
    # ~ endif
    reading: Reading = field(default_factory=Reading)  # what was read, and what was left out
    settings: Any = None  # of the data (``DataFolder``), with the image size that was chosen


# ~ if cookiecutter.scope == "complete"
SMALL = 64 * 1024  # tensors of at most so many bytes are sent within the message of their batch


class FastLoader(DataLoader[Any]):
    """A data loader whose workers can load the first batches of an epoch before it starts."""

    prepared: tuple[int, Any] | None = None  # an epoch, and the iterator over its batches

    def prepare(self, epoch: int) -> None:
        """Let the workers fill their queue for an epoch; the epoch of the sampler is unchanged."""
        sampler = self.sampler
        if self.num_workers and isinstance(sampler, TrainingSampler):
            current = sampler.epoch, sampler.used_images
            sampler.set_epoch(epoch)
            self.prepared = epoch, super().__iter__()
            sampler.epoch, sampler.used_images = current

    def __iter__(self) -> Any:
        """Return an iterator over the batches of the current epoch of the sampler."""
        prepared, self.prepared = self.prepared, None
        if prepared is not None and prepared[0] == getattr(self.sampler, "epoch", None):
            return prepared[1]
        return super().__iter__()


def send_small_tensors_by_value() -> None:
    """Let this worker process send small tensors within the message of their batch.

    Otherwise, each is a file of shared memory, which the training process has to ask for.
    """

    def reduce(tensor: Tensor) -> Any:
        if tensor.nbytes > SMALL or tensor.dtype == torch.bfloat16:  # NumPy lacks bfloat16
            return reduce_tensor(tensor)  # type: ignore[no-untyped-call]
        return torch.from_numpy, (tensor.numpy(),)

    ForkingPickler.register(Tensor, reduce)


# ~ endif
def start_worker(_: int) -> None:
    """Let this worker process go on after SIGTERM, unless the training process sends it.

    Schedulers and ``timeout`` send the signal to all processes at once.
    """
    # ~ if cookiecutter.scope == "complete"
    send_small_tensors_by_value()
    # ~ endif
    if hasattr(signal, "sigwaitinfo"):  # on Linux
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """Wait for SIGTERM of the process ``parent``, and end this process at once."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


class DataModule(LightningDataModule):
    """Data loaders for training, validation and test; training depends on ``seed``."""

    def __init__(
        self, datasets: Datasets, settings: LoaderSettings, *, skip_unreadable: bool, seed: int = 0
    ) -> None:
        super().__init__()
        self.datasets = datasets
        self.settings = settings
        self.seed = seed
        self.skip_unreadable = skip_unreadable
        self.unreadable: set[str] = set()

    @cached_property
    def sampler(self) -> TrainingSampler:
        """The sampler of the training split, for the processes of the trainer if it is attached."""
        {{ "sampler =" if cookiecutter.scope == "complete" and cookiecutter.task != "segmentation" else "return" }} TrainingSampler(
            self.datasets.train,
            self.settings.batch_size,
            self.seed,
            world_size=self.trainer.world_size if self.trainer else 1,
            rank=self.trainer.global_rank if self.trainer else 0,
        )

        # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "segmentation"
        sampler.weights = self.datasets.weights
        return sampler

        # ~ endif

    def train_dataloader(self) -> DataLoader[Any]:
        """Return a loader of the training split, shuffled; an incomplete last batch is dropped."""
        return self.loader(SeededSamples(self.datasets.train, self.seed), self.sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return a loader of the validation split in order."""
        return self.loader(self.datasets.val)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return a loader of the test split in order."""
        return self.loader(self.datasets.test)

    def loader(self, dataset: Any, sampler: TrainingSampler | None = None) -> DataLoader[Any]:
        """Build a data loader with the settings of ``loader``, in order without a sampler."""
        given = self.settings.workers
        workers = min(usable_cpus(), MAX_WORKERS) if given == "auto" else int(given)
        return {{ "FastLoader" if cookiecutter.scope == "complete" else "DataLoader" }}(
            dataset,
            batch_size=sampler.batch_size if sampler else self.settings.batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=self.datasets.collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            worker_init_fn=start_worker,
        )

    def share_unreadable(self) -> None:
        """Give the unreadable images of each process to all, which must all call this method."""
        processes = self.trainer.world_size if self.trainer else 1
        if self.skip_unreadable and processes > 1:
            gathered: list[Any] = [None] * processes
            distributed.all_gather_object(gathered, self.unreadable)
            self.unreadable.update(*gathered)

    def state_dict(self) -> dict[str, Any]:
        """Return the unreadable images, which a resumed training may not read again."""
        self.share_unreadable()
        return {"unreadable": sorted(self.unreadable)} if self.unreadable else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Add the unreadable images of the training that is resumed."""
        self.unreadable.update(state_dict["unreadable"])

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Record the unreadable images of a batch, or report the first one as an error."""
        for file in batch.unreadable:
            if not self.skip_unreadable:
                raise UnreadableImageError(*file)
            self.unreadable.add(file.path)
        if not len(batch.images) and (self.trainer is None or self.trainer.training):
            raise UsageError(
                f"All images of a batch are unreadable, such as {batch.unreadable[0].path}.\n"
                "Repair or remove them, or use a larger loader.batch_size."
            )
        return batch


def counted_images(positions: Tensor, trainer: Trainer) -> Tensor:
    """Return which images of a batch this process measures, bool [B], so that none counts twice.

    Lightning's sampler gives the image of position ``i`` to process ``i % world_size``, and repeats
    the first images where a process would otherwise get fewer.
    """
    return positions % trainer.world_size == trainer.global_rank


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
