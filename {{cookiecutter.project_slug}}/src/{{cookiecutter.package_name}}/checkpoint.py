"""Read a checkpoint: the file alone is enough to rebuild the model."""

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from .errors import UsageError
from .settings import Settings
from .task import TaskModule
from .validation import check


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this project.

    Raises:
        UsageError: if the file is none.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"settings", "classes", "state_dict"} - set(content)
    except Exception as error:  # torch raises many kinds for what is no checkpoint
        raise UsageError(f"checkpoint={path} cannot be read: {type(error).__name__}.") from error
    if missing:
        raise UsageError(
            f"checkpoint={path} is not one of this project: it has no {', '.join(sorted(missing))}."
        )
    return content


def load_module(path: Path) -> TaskModule:
    """Rebuild the module that a checkpoint holds; its weights are the averaged ones.

    Raises:
        UsageError: if the file is no checkpoint of this project.
    """
    content = read_checkpoint(path)
    settings = check(OmegaConf.create(content["settings"]), Settings)
    module = TaskModule(settings, content["classes"], download=False)
    module.load_state_dict(content["state_dict"])
    return module.eval()
