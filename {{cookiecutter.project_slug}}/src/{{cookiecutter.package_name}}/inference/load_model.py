"""Load a trained module from a checkpoint, and build data sets with the same classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# ~ if cookiecutter.task == "classification"
from ..classification.dataset import build_datasets
from ..classification.module import ClassificationModule as TaskModule
# ~ endif
from ..data.datamodule import Datasets
# ~ if cookiecutter.task == "detection"
from ..detection.dataset import build_datasets
from ..detection.module import DetectionModule as TaskModule
# ~ endif
from ..errors import UsageError
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.dataset import build_datasets
from ..segmentation.module import SegmentationModule as TaskModule
# ~ endif
from ..settings.check_settings import check
from ..settings.schema import Settings
from ..settings.stored_settings import completed
# ~ if cookiecutter.scope == "complete"
from ..training.checkpoint import read_checkpoint
from ..training.initial_weights import load_fitting


# ~ else
from ..training.checkpoint import read_checkpoint


# ~ endif
def load_module(path: Path, settings: Settings | None = None) -> TaskModule:
    """Load the module of a checkpoint in evaluation mode, with averaged weights if it has them.

    The section ``model`` of ``settings``, if given, replaces the stored section.
    """
    content = read_checkpoint(path)
    module = build_module(content, settings)
    _load_weights(module, content, path)
    return module.eval()


def _load_weights(module: TaskModule, content: Mapping[str, Any], path: Path) -> None:
    try:
        module.load_state_dict(content["state_dict"])
    except RuntimeError as error:  # names or shapes of weights differ
        raise UsageError(
            f"{path} holds another network than the settings of model describe.\n"
            "Leave out the settings that change the network, such as model.backbone."
        ) from error


def check_resumed(module: TaskModule, path: Path) -> None:
    """Raise a UsageError if the checkpoint to resume from has other classes or another network."""
    content = read_checkpoint(path)
    _check_classes(module.classes, content["classes"], module.settings, path)
    _load_weights(module, content, path)


def build_module(content: Mapping[str, Any], settings: Settings | None = None) -> TaskModule:
    """Build a module with random weights for the settings and classes of a checkpoint."""
    # The trackers of the training run are not needed to load its weights.
    tree = content["settings"] | {"tracking": None}
    stored = check(completed(tree, Settings, source=None), Settings)
    if settings is not None:
        stored = stored.model_copy(update={"model": settings.model})
    return TaskModule(stored, content["classes"], download=False)


# ~ if cookiecutter.scope == "complete"
def start_from(module: TaskModule, path: Path) -> None:
    """Load the weights of a checkpoint, averaged if it has an average, into a new module.

    If the classes differ, the layers whose shapes depend on their number keep their random
    initialisation, as do all weights whose name or shape does not match. The log lists them.
    """
    content = read_checkpoint(path)
    trained, chosen = content["settings"]["model"], module.settings.model.model_dump()
    # ~ if cookiecutter.task == "classification"
    names = ["architecture", "backbone"]
    # ~ elif cookiecutter.task == "detection"
    names = ["architecture", "backbone", "channels"]
    if "coco" in (trained["pretrained"], chosen["pretrained"]):  # not with the backbone named
        names = ["architecture", "pretrained"]
    # ~ elif cookiecutter.task == "segmentation"
    names = ["architecture", "backbone", "decoder_channels"]
    # ~ endif
    differing = [
        f"model.{name}={trained[name]}"
        for name in names
        if name in trained and trained[name] != chosen[name]
    ]
    if differing:
        raise UsageError(f"init={path} has another network. Set {' '.join(differing)}")
    weights = {
        name.removeprefix("network."): value for name, value in content["state_dict"].items()
    }
    if content["classes"] != module.classes:
        own = module.network.state_dict()
        larger = TaskModule(module.settings, [*module.classes, "another"], download=False)
        for name, value in larger.network.state_dict().items():
            if name not in own or own[name].shape != value.shape:
                weights.pop(name, None)
    load_fitting(module.network, weights, str(path))


# ~ endif
def matching_datasets(settings: Settings, classes: Sequence[str], checkpoint: Path) -> Datasets:
    """Build the data sets of the settings; raise a UsageError if they have other classes."""
    datasets = build_datasets(settings.data)
    _check_classes(datasets.classes, classes, settings, checkpoint)
    return datasets


def _check_classes(
    found: Sequence[str], trained: Sequence[str], settings: Settings, checkpoint: Path
) -> None:
    if list(found) != list(trained):
        raise UsageError(
            f"{settings.data.root} has the classes {', '.join(found)},\n"
            f"but {checkpoint} was trained on {', '.join(trained)}."
        )
