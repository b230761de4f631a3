"""Helpers for networks with a timm backbone: normalisation, model names, pretrained weights."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import timm
import torch
from torch import Tensor, nn

from ..errors import UsageError


class Normalisation(nn.Module):
    """Normalise images in the same way as in the pretraining of the backbone."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return normalised images, float [B, C, H, W], of uint8 or of float from 0 to 255."""
        return (images.to(self.mean.dtype) - self.mean) / self.std


# ~ if cookiecutter.task != "classification"
IMAGENET_MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def normalisation_of(backbone: str, channels: int) -> Normalisation:
    """Return a timm backbone's normalisation, or ImageNet's if timm has no weights for it."""
    config = timm.get_pretrained_cfg(backbone)
    mean, std = (config.mean, config.std) if config else IMAGENET_MEAN_STD
    return normalisation_for(mean, std, channels)


# ~ endif
def normalisation_for(mean: Sequence[float], std: Sequence[float], channels: int) -> Normalisation:
    """Repeat mean and standard deviation of RGB for further channels; average them for one."""
    if channels == 1:
        return Normalisation([sum(mean) / len(mean)], [sum(std) / len(std)])
    chosen = [index % len(mean) for index in range(channels)]
    return Normalisation([mean[index] for index in chosen], [std[index] for index in chosen])


def check_name(backbone: str) -> None:
    """Check that timm has a model of this name, and weights of its tag, such as ``.a1_in1k``."""
    architecture, _, tag = backbone.partition(".")
    names = timm.list_models()
    if timm.is_model(backbone):
        names = timm.list_models(f"{architecture}.*", include_tags=True)
        if not tag or backbone in names:
            return
    similar = difflib.get_close_matches(backbone, names, n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(similar)}?" if similar else "timm.list_models() lists them."
    raise UsageError(f"model.backbone={backbone}: timm has no such model.\n{hint}")


@contextmanager
def explain_failed_download(backbone: str, *, pretrained: bool) -> Iterator[None]:
    """Explain an error of the block, which builds a network and may download its weights."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"model.pretrained: the weights of {backbone} cannot be downloaded.\n"
            f"  {type(error).__name__}: {reason}\n"
            "They are downloaded once and then cached: connect to the network for the first run,\n"
            "or point HF_HOME to a cache that contains them and set HF_HUB_OFFLINE=1,\n"
            # ~ if cookiecutter.task == "detection" and cookiecutter.scope == "complete"
            "or point TORCH_HOME to a cache that contains those of torchvision,\n"
            # ~ endif
            "or train from scratch with model.pretrained=false."
        ) from error
