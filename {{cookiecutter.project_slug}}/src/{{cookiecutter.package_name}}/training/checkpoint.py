"""Write and read checkpoints, which contain all that is needed to rebuild the module."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from ..errors import UsageError
from ..run.environment import masked
from ..run.files import replacing
from ..settings.tree import Settings


class AtomicCheckpoints(TorchCheckpointIO):
    """Write checkpoints atomically.

    Lightning copies the file from a temporary folder: if the disk is full or the process is killed,
    the previous checkpoint is replaced by an incomplete file.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: if it cannot be written; a previous checkpoint remains unchanged.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with replacing(path) as hidden:
            hidden.write_bytes(content.getbuffer())


class CheckpointContents(Callback):
    """Add the settings and the class names to each checkpoint, to rebuild the module from it."""

    def __init__(self, settings: Settings, classes: Sequence[str]) -> None:
        self.settings = settings
        self.classes = classes

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add ``settings``, a nested dict without secrets, and ``classes``, a list of names."""
        checkpoint["settings"] = masked(self.settings.model_dump(mode="json", by_alias=True))
        checkpoint["classes"] = list(self.classes)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this project.

    Returns:
        The entries of a Lightning checkpoint, and the entries ``settings`` and ``classes``.

    Raises:
        UsageError: if the file is not a checkpoint of this project.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"settings", "classes", "state_dict"} - set(content)
    except Exception as error:  # torch raises many types of errors for other files
        raise UsageError(f"checkpoint={path} cannot be read: {type(error).__name__}.") from error
    if missing:
        raise UsageError(
            f"checkpoint={path} was not written by this project: "
            f"it has no {', '.join(sorted(missing))}."
        )
    return content
