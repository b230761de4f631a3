"""Write and read checkpoints. A checkpoint file alone is enough to rebuild the module."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from ..errors import UsageError
from ..run.files import replacing
from ..settings.tree import Settings


class WholeCheckpoints(TorchCheckpointIO):
    """Replace a checkpoint only when the new file is complete.

    Lightning copies from a temporary folder: on a full disk, or if it is killed meanwhile, it would
    replace the previous checkpoint by half a file.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: if there is no space for it; the previous checkpoint stays.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with replacing(path) as hidden:
            hidden.write_bytes(content.getbuffer())


class CheckpointContents(Callback):
    """Add the settings and the classes to each checkpoint: nothing else rebuilds the model."""

    def __init__(self, settings: Settings, classes: Sequence[str]) -> None:
        self.settings = settings
        self.classes = classes

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add ``settings``, a tree of plain values, and ``classes``, a list of names."""
        checkpoint["settings"] = self.settings.model_dump(mode="json", by_alias=True)
        checkpoint["classes"] = list(self.classes)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this project.

    Returns:
        Lightning's entries, ``state_dict`` among them, and ``settings`` and ``classes``.

    Raises:
        UsageError: if the file is no checkpoint, or not of this project.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"settings", "classes", "state_dict"} - set(content)
    except Exception as error:  # torch raises many kinds for other files
        raise UsageError(f"checkpoint={path} cannot be read: {type(error).__name__}.") from error
    if missing:
        raise UsageError(
            f"checkpoint={path} was not written by this project: "
            f"it has no {', '.join(sorted(missing))}."
        )
    return content
