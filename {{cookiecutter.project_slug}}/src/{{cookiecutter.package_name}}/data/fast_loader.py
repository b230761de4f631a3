"""A data loader that loads the next epoch ahead, and sends small tensors faster."""

from multiprocessing.reduction import ForkingPickler
from typing import Any, cast

import torch
from torch import Tensor
from torch.multiprocessing.reductions import reduce_tensor
from torch.utils.data import DataLoader

from .sampler import TrainingSampler

SMALL = 64 * 1024  # tensors of at most so many bytes are sent within the message


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
        if prepared is not None and prepared[0] == cast("TrainingSampler", self.sampler).epoch:
            return prepared[1]
        return super().__iter__()


def send_small_tensors_by_value(_: int) -> None:
    """Let this worker process send small tensors within the message of their batch.

    Otherwise, each is a file of shared memory, which the training process has to ask for.
    """

    def reduce(tensor: Tensor) -> tuple[Any, ...]:
        if tensor.nbytes > SMALL or tensor.dtype == torch.bfloat16:  # NumPy lacks bfloat16
            return cast("tuple[Any, ...]", reduce_tensor(tensor))  # type: ignore[no-untyped-call]
        return torch.from_numpy, (tensor.numpy(),)

    ForkingPickler.register(Tensor, reduce)
