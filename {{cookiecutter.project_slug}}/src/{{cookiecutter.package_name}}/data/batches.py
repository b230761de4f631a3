"""What a data set returns for an image, and the batches that are made of it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from .images import Unreadable

TargetT = TypeVar("TargetT")
TargetsT = TypeVar("TargetsT")


class Sample(NamedTuple, Generic[TargetT]):
    """A transformed image of a data set and its target."""

    image: Tensor  # uint8 [C, H, W]
    target: TargetT
    position: int  # index in the data set


class Batch(NamedTuple, Generic[TargetsT]):
    """The readable images of a batch with their targets, and the unreadable files."""

    images: Tensor  # uint8 [B, C, H, W]
    targets: TargetsT
    positions: Tensor  # int64 [B]
    unreadable: list[Unreadable]


def collated(
    samples: Sequence[Sample[TargetT] | Unreadable],
    join: Callable[[list[TargetT]], TargetsT],
) -> Batch[TargetsT]:
    """Stack the readable samples into a batch, and list the unreadable files.

    ``join`` makes the targets of the batch of those of the samples.
    """
    readable = [sample for sample in samples if isinstance(sample, Sample)]
    return Batch(
        torch.stack([sample.image for sample in readable]) if readable else torch.empty(0),
        join([sample.target for sample in readable]),
        torch.tensor([sample.position for sample in readable], dtype=torch.int64),
        [sample for sample in samples if isinstance(sample, Unreadable)],
    )


def evenly_spaced(dataset: Any, count: int) -> Iterator[Any]:
    """Yield up to ``count`` samples of a data set, evenly spaced, without unreadable ones."""
    chosen = torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).long().tolist()
    samples = (dataset[index] for index in chosen)
    return (sample for sample in samples if not isinstance(sample, Unreadable))
