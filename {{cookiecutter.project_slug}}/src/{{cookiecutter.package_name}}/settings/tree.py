"""The types, ranges and explanations of all settings; their values are in ``configs/``."""

# ~ if cookiecutter.scope == "complete"
from collections.abc import Collection
# ~ endif
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from .check import Strict
# ~ if cookiecutter.task == "classification"
from .classification import DataSettings, ModelSettings, has_several_labels
# ~ elif cookiecutter.task == "detection"
from .detection import DataSettings, ModelSettings
# ~ elif cookiecutter.task == "segmentation"
from .segmentation import DataSettings, ModelSettings
# ~ endif
from .trackers import Tracking

# The scores that may decide which checkpoint is the best, with their direction, and the default.
# ~ if cookiecutter.task == "classification"
METRICS = {
    "val/accuracy": "max",
    "val/mAP": "max",  # of images with several labels, in place of the accuracy
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
class LoaderSettings(Strict):
    """Batches, and the processes that load them."""

    batch_size: int = Field(ge=2, description="Images in a batch of one process.")
    workers: int | Literal["auto"] = Field(
        description="Processes that load images: auto is one for each CPU, but at most 8; 0 loads "
        "in the main process."
    )

    @field_validator("workers")
    @classmethod
    def _not_negative(cls, workers: int | str) -> int | str:
        if isinstance(workers, int) and workers < 0:
            raise ValueError("must be auto, 0 or more")
        return workers


class OptimizerSettings(Strict):
    """AdamW or SGD; biases and norms get no weight decay."""

    name: Literal["adamw", "sgd"]
    lr: float = Field(gt=0, description="Learning rate after the warm-up.")
    weight_decay: float = Field(ge=0, description="Decay of weights, not of biases and norms.")
    momentum: float = Field(ge=0, lt=1, description="Momentum of SGD, beta 1 of AdamW.")
    clip_norm: float | None = Field(
        gt=0, description="Largest norm of the gradients; null does not clip."
    )


class ScheduleSettings(Strict):
    """The learning rate of each step: a linear warm-up, then half a cosine down to ``final_lr``."""

    warmup: float = Field(
        ge=0, lt=1, description="Share of all steps in which the learning rate rises."
    )
    final_lr: float = Field(
        ge=0, le=1, description="Last learning rate, as a share of optimizer.lr."
    )


class EMASettings(Strict):
    """An exponential moving average of the weights, which is validated, tested and saved."""

    enabled: bool = Field(description="Whether the weights are averaged.")
    decay: float = Field(
        gt=0, lt=1, description="Share of the average that remains after each step."
    )
    every_n_steps: int = Field(ge=1, description="Steps between two updates of the average.")


class PicturesSettings(Strict):
    """Sheets of validation images with predictions: ``predictions/epoch_*.png``."""

    count: int = Field(ge=1, le=64, description="Validation images on a sheet.")
    every_n_epochs: int = Field(ge=1, description="Epochs between two sheets.")


Batches = Annotated[
    int | float, Field(gt=0, description="Share (0.1) or number (10) of batches to use.")
]


class TrainerSettings(Strict):
    """Arguments of Lightning's ``Trainer``, and early stopping."""

    accelerator: Literal["auto", "cpu", "gpu", "mps", "cuda"] = Field(
        description="Hardware to use."
    )
    devices: int | str = Field(description="Number of devices on each machine.")
    # ~ if cookiecutter.scope == "complete"
    num_nodes: int = Field(ge=1, description="Number of machines.")
    # ~ endif
    strategy: str = Field(description="auto, or ddp for several processes.")
    precision: Literal["auto", "32-true", "bf16-mixed", "bf16-true"] = Field(
        description="auto is bf16-mixed on a GPU that supports it, else 32-true."
    )
    max_epochs: int = Field(ge=1, description="Epochs of the training.")
    limit_train_batches: Batches
    limit_val_batches: Batches
    limit_test_batches: Batches
    overfit_batches: int | float = Field(
        ge=0, description="Train on this share or number of batches only; 0 is off."
    )
    log_every_n_steps: int = Field(ge=1, description="Training steps between two rows of metrics.")
    patience: int | None = Field(
        ge=1, description="Stop after so many epochs without a better score."
    )
    deterministic: bool = Field(description="Use deterministic algorithms only; they are slower.")
    profiler: Literal["simple", "advanced"] | None = Field(
        description="Profile the training and write profile.txt into the run folder."
    )
    progress: bool = Field(description="Whether progress bars are shown.")

    @field_validator("strategy")
    @classmethod
    def _keeps_weights_and_results(cls, strategy: str) -> str:
        if any(word in strategy for word in ("spawn", "fork", "notebook")):
            raise ValueError("processes of that kind return no results: use ddp")
        if any(word in strategy for word in ("fsdp", "deepspeed", "model_parallel")):
            raise ValueError("checkpoints need whole weights in each process: use ddp")
        return strategy


class Settings(Strict):
    """The whole tree of settings of a training."""

    runs: Path = Field(description="Each run gets a folder of its own in this folder.")
    resume: str | None = Field(description="Continue a training: a run id, or auto for the newest.")
    seed: int = Field(ge=0, lt=2**32, description="Seed of all random numbers.")
    data: DataSettings
    loader: LoaderSettings
    model: ModelSettings
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    ema: EMASettings
    pictures: PicturesSettings
    trainer: TrainerSettings
    tracking: Tracking | None = Field(
        default=None, description="Experiment trackers, in addition to the run folder."
    )

    @property
    def monitor(self) -> str:
        """The score that decides which checkpoint is the best."""
        # ~ if cookiecutter.task == "classification"
        return "val/mAP" if has_several_labels(self.data) else MONITOR

        # ~ else
        return MONITOR

        # ~ endif
    @field_validator("tracking", mode="before")
    @classmethod
    def _empty_means_none(cls, tracking: object) -> object:
        return tracking or None


def _existing_file(checkpoint: object) -> object:
    if checkpoint is None:
        raise ValueError("name a checkpoint: checkpoint=runs/<run id>/checkpoints/best.ckpt")
    # ~ if cookiecutter.use_wandb and cookiecutter.scope == "complete"
    if str(checkpoint).startswith("wandb:"):
        return checkpoint  # downloaded after the other settings have been checked
    # ~ endif
    if not Path(str(checkpoint)).is_file():
        raise ValueError(f"there is no file {checkpoint}")
    return checkpoint


CheckpointFile = Annotated[
    Path,
    BeforeValidator(_existing_file),
    Field(description="Such as runs/<run id>/checkpoints/best.ckpt."),
]


class EvaluateSettings(Settings):
    """The settings of ``evaluate``."""

    checkpoint: CheckpointFile
    split: Literal["train", "val", "test"] = Field(description="The split to measure.")


class PredictSettings(Settings):
    """The settings of ``predict``."""

    checkpoint: CheckpointFile
    source: str = Field(description="An image, a folder, or a quoted glob such as 'photos/*.jpg'.")

    @field_validator("source", mode="before")
    @classmethod
    def _named(cls, source: object) -> object:
        if source is None:
            raise ValueError("name the images to predict: source=<file, folder or glob>")
        return source
