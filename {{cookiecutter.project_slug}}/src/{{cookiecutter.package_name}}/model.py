"""Rebuild a trained module from its checkpoint, and find the data that match it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .data.datamodule import Datasets
from .errors import UsageError
from .settings.check import check
from .settings.stored import completed
from .settings.tree import Settings
from .task import TaskModule, build_datasets
from .training.checkpoint import read_checkpoint


def load_module(path: Path, settings: Settings | None = None) -> TaskModule:
    """Rebuild the module that a checkpoint holds, in evaluation mode, with its averaged weights.

    Args:
        path: the checkpoint.
        settings: if given, its ``model`` section replaces the stored one.

    Raises:
        UsageError: if the file is no checkpoint of this project, or holds another network.
    """
    content = read_checkpoint(path)
    module = build_module(content, settings)
    try:
        module.load_state_dict(content["state_dict"])
    except RuntimeError as error:  # other names, or other shapes
        raise UsageError(
            f"{path} holds another network than the settings of model describe.\n"
            "Leave out the settings that change the network, such as model.backbone."
        ) from error
    return module.eval()


def build_module(content: Mapping[str, Any], settings: Settings | None = None) -> TaskModule:
    """Build a module with random weights.

    Args:
        content: the stored ``settings`` and ``classes``.
        settings: if given, its ``model`` section replaces the stored one.
    """
    # The trackers of the training do not matter to a command that loads its weights.
    tree = content["settings"] | {"tracking": None}
    stored = check(completed(tree, Settings, source=None), Settings)
    if settings is not None:
        stored = stored.model_copy(update={"model": settings.model})
    return TaskModule(stored, content["classes"], download=False)


def matching_datasets(settings: Settings, classes: Sequence[str], checkpoint: Path) -> Datasets:
    """Build the data sets that the settings name.

    Raises:
        UsageError: if their classes are not those of the checkpoint, or the data are malformed.
    """
    datasets = build_datasets(settings.data)
    if list(datasets.classes) != list(classes):
        raise UsageError(
            f"{settings.data.root} has the classes {', '.join(datasets.classes)},\n"
            f"but {checkpoint} was trained on {', '.join(classes)}."
        )
    return datasets
