"""What every network needs of timm's models: a known name, weights, and their normalisation."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import timm
import torch
from torch import Tensor, nn

from ..errors import UsageError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Normalisation(nn.Module):
    """What a backbone was trained with, and part of the network: nobody can forget it."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise.

        Args:
            images: uint8 tensor [B, 3, H, W], or a float tensor of the same range, 0 to 255.

        Returns:
            float tensor [B, 3, H, W].
        """
        return (images.to(self.mean.dtype) - self.mean) / self.std


def normalisation_of(backbone: str) -> Normalisation:
    """That of a backbone by its name; ImageNet's if it was never trained."""
    known = timm.get_pretrained_cfg(backbone)
    return Normalisation(known.mean, known.std) if known else Normalisation(*IMAGENET)


def check_name(backbone: str) -> None:
    """Refuse what timm does not have.

    Raises:
        UsageError: with near names.
    """
    if timm.is_model(backbone):
        return
    near = difflib.get_close_matches(backbone, timm.list_models(), n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(near)}?" if near else "timm.list_models() lists them."
    raise UsageError(f"model.backbone={backbone}: timm has no such model.\n{hint}")


@contextmanager
def downloading(backbone: str, *, pretrained: bool) -> Iterator[None]:
    """Build a network in here: if its weights cannot be had, that is explained.

    Raises:
        UsageError: with the ways out.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise UsageError(
            f"model.pretrained=true: no weights of {backbone} to be had.\n"
            f"  {type(error).__name__}: {str(error).splitlines()[0]}\n"
            "They are downloaded once, then kept: connect to the network for the first run,\n"
            "or point HF_HOME to a cache that holds them and set HF_HUB_OFFLINE=1,\n"
            "or train from scratch with model.pretrained=false."
        ) from error
