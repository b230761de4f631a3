"""The order of the training images and their random transforms, which a resumed run repeats.

Both depend on the seed, the epoch and the image only: not on the number of workers, and not on how
often the training was started.
"""

import math
# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "segmentation"
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

MAX_EPOCHS = 1 << 20  # more than any training run has


def image_weights(labels: Iterable[Collection[int]], balance: float) -> Tensor | None:
    """Return the weight with which each training image is drawn, float64 [images].

    The weight of a class is ``f ** -balance``, where ``f`` is the fraction of the images that have
    the class: with 1, classes are drawn equally often; with 0, the result is None. An image has the
    weight of its rarest class, or without objects that of the most frequent class.
    """
    if not balance:
        return None
    images = [set(present) for present in labels]
    counts = Counter(label for present in images for label in present)
    weights = {label: (count / len(images)) ** -balance for label, count in counts.items()}
    smallest = min(weights.values(), default=1.0)
    values = [max((weights[label] for label in present), default=smallest) for present in images]
    return torch.tensor(values, dtype=torch.float64)


# ~ else
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import torch
from torch.utils.data import Dataset, DistributedSampler


# ~ endif
def random_seed(*numbers: int) -> int:
    """Return a seed of 64 bits for a sequence of numbers; other sequences give unrelated seeds."""
    text = " ".join(map(str, numbers)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


# Lightning would replace a sampler that is not a DistributedSampler.
class TrainingSampler(DistributedSampler[int]):
    """Shuffle the images in each epoch, and give each process its share of each batch.

    The batches of all processes together are consecutive parts of a permutation of the images.
    Images that do not fill the last batch are not used in this epoch.
    # ~ if cookiecutter.scope == "complete"

    A training run can be resumed within an epoch, also with another number of processes or another
    batch size: no image is repeated or omitted.
    # ~ endif
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "segmentation"
    With weights, the images of an epoch are drawn with replacement.
    # ~ endif
    """

    def __init__(
        self, dataset: Dataset[Any], batch_size: int, seed: int, *, world_size: int, rank: int
    ) -> None:
        super().__init__(dataset, num_replicas=world_size, rank=rank, seed=seed)
        # ~ if cookiecutter.scope == "complete"
        self.used_images = 0  # of the epoch; iteration starts with the next image
        # ~ endif
        # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "segmentation"
        self.weights: Tensor | None = None  # float64 [images]
        # ~ endif
        self.size = len(dataset)  # type: ignore[arg-type]
        self.batch_size = min(batch_size, self.num_samples)  # of one process
        self.images_per_batch = world_size * self.batch_size
        self.images_per_epoch = max(self.size, self.images_per_batch)
        self.batches = self.images_per_epoch // self.images_per_batch

    def __len__(self) -> int:
        return self.batches * self.batch_size

    # ~ if cookiecutter.scope == "complete"
    @property
    def used_batches(self) -> int:
        """The number of batches of the epoch that have been used."""
        remaining = (self.images_per_epoch - self.used_images) // self.images_per_batch
        return self.batches - remaining

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, unless the sampler is within this epoch already."""
        if epoch != self.epoch:
            self.epoch, self.used_images = epoch, 0

    # ~ endif
    def __iter__(self) -> Iterator[int]:
        """Yield the keys of the images, ``epoch * size + index``, see ``SeededSamples``.

        If there are fewer images than ``images_per_batch``, the first images are repeated.
        """
        generator = torch.Generator().manual_seed(random_seed(self.seed, self.epoch))
        order = torch.randperm(self.size, generator=generator).tolist()
        order = (order * math.ceil(self.images_per_epoch / self.size))[: self.images_per_epoch]
        keys = [self.epoch * self.size + index for index in order]
        # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "segmentation"
        if self.weights is not None:
            keys, times = [], Counter[int]()
            drawn = torch.multinomial(
                self.weights, self.images_per_epoch, replacement=True, generator=generator
            )
            for index in drawn.tolist():
                # An image that is drawn again is transformed differently: its key stands for an
                # epoch that is never trained.
                keys.append((self.epoch + times[index] * MAX_EPOCHS) * self.size + index)
                times[index] += 1
        # ~ endif
        end = self.images_per_epoch - self.images_per_batch + 1
        for start in range({{ "self.used_images" if cookiecutter.scope == "complete" else "0" }}, end, self.images_per_batch):
            first = start + self.rank * self.batch_size
            yield from keys[first : first + self.batch_size]


class SeededSamples(Dataset[Any]):
    """A data set whose random transforms depend on the seed, the epoch and the image only.

    Its keys are ``epoch * size + index``, so that worker processes know the epoch. PyTorch's global
    random state is set, also that of the main process if there are no workers; transforms that draw
    from NumPy or Python's ``random`` are not reproduced in a resumed training run.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: int) -> Any:
        epoch, index = divmod(key, len(self.dataset))
        # ``torch.manual_seed`` sets all kinds of devices, which takes 100 times as long.
        torch.default_generator.manual_seed(random_seed(self.seed, epoch, index))
        return self.dataset[index]
