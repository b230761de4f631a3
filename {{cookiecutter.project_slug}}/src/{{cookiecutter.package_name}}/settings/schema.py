"""The settings of ``train``, ``evaluate`` and ``predict``; their values are in ``configs/``."""

# ~ if cookiecutter.scope == "complete"
from collections.abc import Collection, Mapping
# ~ else
from collections.abc import Mapping
# ~ endif
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from .check_settings import Strict
# ~ if cookiecutter.task == "classification" and cookiecutter.scope == "complete"
from .classification import DataSettings, ModelSettings, has_several_labels
# ~ elif cookiecutter.task == "classification"
from .classification import DataSettings, ModelSettings
# ~ elif cookiecutter.task == "detection"
from .detection import DataSettings, ModelSettings
# ~ elif cookiecutter.task == "segmentation"
from .segmentation import DataSettings, ModelSettings
# ~ endif
from .tracking import Tracking
from .trainer import TrainerSettings

TASK = "{{ {'classification': 'image classification', 'detection': 'object detection', 'segmentation': 'semantic segmentation'}[cookiecutter.task] }}"
# The loss by which the best and the worst images are chosen, see scoring.py of the task.
LOSS = "{{ '1 - F1' if cookiecutter.task == 'detection' else 'cross-entropy' }}"
# The scores that may decide which checkpoint is the best, with their direction, and the default.
# ~ if cookiecutter.task == "classification"
METRICS = {
    "val/accuracy": "max",
    # ~ if cookiecutter.scope == "complete"
    "val/mAP": "max",  # of images with several labels, in place of the accuracy
    # ~ endif
    "val/f1": "max",
    "val/loss": "min",
}
MONITOR = "val/accuracy"


# ~ elif cookiecutter.task == "detection"
METRICS = {"val/mAP": "max", "val/mAP_50": "max", "val/mAP_75": "max"}
MONITOR = "val/mAP"


# ~ elif cookiecutter.task == "segmentation"
METRICS = {"val/mIoU": "max", "val/dice": "max", "val/loss": "min"}
MONITOR = "val/mIoU"


# ~ endif
# ~ if cookiecutter.scope == "complete"
def monitored(names: Collection[str]) -> str:
    """Return the score that decides which checkpoint is the best, given the scores of a run.

    It is ``MONITOR`` or, if the run has no such score, the first of ``METRICS`` that it has.
    """
    return next((name for name in (MONITOR, *METRICS) if name in names), MONITOR)


# ~ endif
def model_name(model: Mapping[str, Any]) -> str:
    """Return the name of a network: its architecture, if the settings have one, and backbone."""
    # ~ if cookiecutter.task == "detection" and cookiecutter.scope == "complete"
    if model.get("pretrained") == "coco":  # the backbone is the detector's own
        return str(model["architecture"])
    # ~ endif
    return " ".join(model[key] for key in ("architecture", "backbone") if key in model)


class LoaderSettings(Strict):
    """Batches, and the processes that load them."""

    batch_size: int = Field(ge=2, description="Images in a batch of one process.")
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        description="Processes that load images: auto is one for each CPU, but at most 8; 0 loads "
        "in the main process."
    )


class OptimizerSettings(Strict):
    """AdamW or SGD; biases and norms get no weight decay."""

    name: Literal["adamw", "sgd"]
    lr: float = Field(gt=0, description="Learning rate after the warm-up.")
    weight_decay: float = Field(ge=0, description="Decay of weights, not of biases and norms.")
    momentum: float = Field(ge=0, lt=1, description="Momentum of SGD, beta 1 of AdamW.")
    # ~ if cookiecutter.scope == "complete"
    backbone_lr: float = Field(gt=0, description="Factor of the learning rate for the backbone.")
    layer_decay: float | None = Field(
        gt=0,
        le=1,
        description="Layer-wise decay: each backbone stage, from the last to the first, gets this "
        "factor once more; null is off.",
    )
    # ~ endif
    clip_norm: float | None = Field(gt=0, description="Largest norm of the gradients; null is off.")


class ScheduleSettings(Strict):
    """The learning rate of each step: a linear warm-up, then half a cosine down to ``final_lr``."""

    warmup: float = Field(ge=0, lt=1, description="Fraction of all steps in which the rate rises.")
    final_lr: float = Field(ge=0, le=1, description="Last rate, as a fraction of optimizer.lr.")


# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "detection"
class LossSettings(Strict):
    """The weights of the classes in the loss."""

    class_weights: Literal["balanced"] | list[Annotated[float, Field(gt=0)]] | None = Field(
        description="A weight for each class, or balanced: rare classes count as much as frequent "
        "ones; null gives each {{ 'pixel' if cookiecutter.task == 'segmentation' else 'image' }} the same weight."
    )


# ~ endif
class EMASettings(Strict):
    """An exponential moving average of the weights, which is validated, tested and saved."""

    enabled: bool = Field(description="Whether the weights are averaged.")
    decay: float = Field(gt=0, lt=1, description="Fraction of the average that each step keeps.")


class PicturesSettings(Strict):
    """Sheets of validation images with predictions: ``predictions/epoch_*.png``."""

    count: int = Field(ge=1, le=64, description="Validation images on a sheet.")
    every_n_epochs: int = Field(ge=1, description="Draw a sheet every n epochs, after validation.")


class Settings(Strict):
    """The whole tree of settings of a training run."""

    runs: Path = Field(description="Each run gets a folder of its own in this folder.")
    resume: str | None = Field(description="Continue a run: a run id, or auto for the newest.")
    # ~ if cookiecutter.scope == "complete"
    init: str | None = Field(description="Start from the weights of a run: its id or a checkpoint.")
    # ~ endif
    seed: int = Field(ge=0, lt=2**32, description="Seed of all random numbers.")
    data: DataSettings
    loader: LoaderSettings
    model: ModelSettings
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "detection"
    loss: LossSettings
    # ~ endif
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    ema: EMASettings
    pictures: PicturesSettings
    trainer: TrainerSettings
    tracking: Tracking | None = Field(default=None, description="Experiment trackers; null is off.")

    @property
    def monitor(self) -> str:
        """The score that decides which checkpoint is the best."""
        # ~ if cookiecutter.task == "classification" and cookiecutter.scope == "complete"
        return "val/mAP" if has_several_labels(self.data) else MONITOR


        # ~ else
        return MONITOR


        # ~ endif
EXAMPLE_CHECKPOINT = "runs/RUN_ID/checkpoints/best.ckpt"


def _existing_file(checkpoint: object) -> object:
    if checkpoint is None:
        raise ValueError(f"name a checkpoint: checkpoint={EXAMPLE_CHECKPOINT}")
    # ~ if cookiecutter.use_wandb and cookiecutter.scope == "complete"
    if str(checkpoint).startswith("wandb:"):
        return checkpoint  # downloaded after the other settings have been checked
    # ~ endif
    if (Path(str(checkpoint)) / "checkpoints" / "best.ckpt").is_file():
        raise ValueError(f"name a file in this folder: {checkpoint}/checkpoints/best.ckpt")
    if not Path(str(checkpoint)).is_file():
        path = Path(str(checkpoint)).absolute()
        raise ValueError(f"there is no file {path}; name one such as {EXAMPLE_CHECKPOINT}")
    return checkpoint


CheckpointFile = Annotated[
    Path,
    BeforeValidator(_existing_file),
    Field(description=f"Such as {EXAMPLE_CHECKPOINT}."),
    # ~ if cookiecutter.scope == "complete"
]
TestTimeAugmentation = Annotated[
    Literal["none", "flip", "multiscale"],
    Field(
        description="Average the predictions for augmented copies of an image: flip adds the "
        "mirrored image; multiscale takes about 0.75, 1 and 1.25 of data.image_size."
    ),
]


    # ~ else
]


# ~ endif
class EvaluateSettings(Settings):
    """The settings of ``evaluate``."""

    checkpoint: CheckpointFile
    # ~ if cookiecutter.scope == "complete"
    tta: TestTimeAugmentation
    # ~ endif
    split: Literal["train", "val", "test"] = Field(description="The split to measure.")


class PredictSettings(Settings):
    """The settings of ``predict``."""

    checkpoint: CheckpointFile
    source: str = Field(description="An image, a folder, or a quoted glob such as 'photos/*.jpg'.")
    output: Path | None = Field(description="A new folder for the results; null is the run folder.")
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    tiles: int | None = Field(
        ge=32,
        description="Predict large images in overlapping tiles of this side length in pixels; null "
        "takes the data.tiles of the training run.",
    )
    # ~ endif
    # ~ if cookiecutter.scope == "complete"
    tta: TestTimeAugmentation
    # ~ endif
    save: Literal["pictures", "tables", "both"] = Field(description="The files to write.")

    @field_validator("source", mode="before")
    @classmethod
    def _named(cls, source: object) -> object:
        if not source:
            raise ValueError("name the images to predict: source=<file, folder or glob>")
        return str(Path(str(source)).expanduser())

    @field_validator("output")
    @classmethod
    def _overwrites_nothing(cls, output: Path | None) -> Path | None:
        output = output and output.expanduser()
        if output is not None and (output.is_file() or (output.is_dir() and any(output.iterdir()))):
            raise ValueError(f"{output} exists already: name a new folder")
        return output
