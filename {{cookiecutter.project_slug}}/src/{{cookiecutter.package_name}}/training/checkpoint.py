"""Write checkpoints whole, and read them or an exported file: one alone rebuilds the model."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from ..data.datamodule import Datasets
from ..errors import UsageError
from ..export.onnx_network import OnnxNetwork, read_metadata
from ..export.settings import ExportSettings
from ..settings.check import check
from ..settings.stored import completed
from ..settings.tree import EvaluateSettings, Settings
from ..task import TaskModule, build_datasets


class WholeCheckpoints(TorchCheckpointIO):
    """Write beside, then rename.

    Lightning copies from the temporary folder: on a full disk, or killed meanwhile, it would leave
    half a file in the place of the one before.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint, or nothing.

        Raises:
            OSError: if there is no space for it.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        beside = path.with_name(f".{path.name}")
        try:
            beside.write_bytes(content.getbuffer())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


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
    """Read a checkpoint of this project; of an ONNX file, what it says of itself.

    Raises:
        UsageError: if the file is none.
    """
    if path.suffix == ".onnx":
        return read_metadata(path)
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


def load_module(path: Path, changed: Settings | None = None) -> TaskModule:
    """Rebuild the module that a checkpoint holds; its weights are the averaged ones.

    Args:
        path: the checkpoint, or an ONNX file, which then runs in the place of the network.
        changed: settings whose model takes the place of the checkpoint's.

    Raises:
        UsageError: if the file is no checkpoint of this project, or not one of that model.
    """
    content = read_checkpoint(path)
    # The trackers of the training do not matter to those who load its weights.
    stored = completed(content["settings"] | {"tracking": None}, Settings, source=path)
    settings = check(stored, Settings)
    if changed is not None:
        settings = settings.model_copy(update={"model": changed.model})
    module = TaskModule(settings, content["classes"], download=False)
    if path.suffix == ".onnx":
        cast("Any", module).network = OnnxNetwork(path)
    else:
        try:
            module.load_state_dict(content["state_dict"])
        except RuntimeError as error:  # other names, or other shapes
            raise UsageError(
                f"{path} holds another network than the settings of model describe.\n"
                "Leave out what changes the network, such as model.backbone."
            ) from error
    return module.eval()


def matching_datasets(
    settings: EvaluateSettings | ExportSettings, classes: Sequence[str]
) -> Datasets:
    """The data that the settings name, which must have the checkpoint's classes.

    Raises:
        UsageError: if they have others, or are not as they should be.
    """
    datasets = build_datasets(settings.data)
    if list(datasets.classes) != list(classes):
        raise UsageError(
            f"{settings.data.root} has the classes {', '.join(datasets.classes)},\n"
            f"but {settings.checkpoint} was trained on {', '.join(classes)}."
        )
    return datasets
