"""Every setting with its range; whatever is wrong is reported at once, by its path in the config.

The YAML files in ``configs/`` hold the values, this module says which values make sense.
"""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

# ~ if cookiecutter.use_wandb
from ..tracking.settings import TrackingSettings
# ~ endif
from .check import Strict
# ~ if cookiecutter.task == "classification"
from .classification import DataSettings, ModelSettings

# ~ elif cookiecutter.task == "detection"
from .detection import DataSettings, ModelSettings

# ~ elif cookiecutter.task == "segmentation"
from .segmentation import DataSettings, ModelSettings

# ~ endif
# ~ if cookiecutter.task == "classification"
METRICS = {"val/accuracy": "max", "val/f1": "max", "val/loss": "min"}  # and what is best
MONITOR = "val/accuracy"


# ~ elif cookiecutter.task == "detection"
METRICS = {"val/mAP": "max", "val/mAP_50": "max", "val/mAP_75": "max"}  # and what is best
MONITOR = "val/mAP"


# ~ elif cookiecutter.task == "segmentation"
METRICS = {"val/mIoU": "max", "val/dice": "max", "val/loss": "min"}  # and what is best
MONITOR = "val/mIoU"


# ~ endif
class LoaderSettings(Strict):
    """How batches are made."""

    batch_size: int = Field(ge=2)
    workers: int | Literal["auto"]

    @field_validator("workers")
    @classmethod
    def _not_negative(cls, workers: int | str) -> int | str:
        if isinstance(workers, int) and workers < 0:
            raise ValueError("must be auto, 0 or more")
        return workers


class OptimizerSettings(Strict):
    """AdamW or SGD; biases and norms get no weight decay."""

    name: Literal["adamw", "sgd"]
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    momentum: float = Field(ge=0, lt=1)
    clip_norm: float | None = Field(gt=0)


class ScheduleSettings(Strict):
    """A linear warm-up, then half a cosine down to a share of the learning rate, step by step."""

    warmup: float = Field(ge=0, lt=1)
    final_lr: float = Field(ge=0, le=1)


class EMASettings(Strict):
    """The moving average of the weights."""

    enabled: bool
    decay: float = Field(gt=0, lt=1)
    every_n_steps: int = Field(ge=1)


class PicturesSettings(Strict):
    """The sheet of fixed validation samples."""

    count: int = Field(ge=1, le=64)
    every_n_epochs: int = Field(ge=1)


class TrainerSettings(Strict):
    """What Lightning's ``Trainer`` is given."""

    accelerator: Literal["auto", "cpu", "gpu", "mps", "cuda"]
    devices: int | str
    num_nodes: int = Field(ge=1)
    strategy: str
    precision: Literal["auto", "32-true", "bf16-mixed", "bf16-true"]
    max_epochs: int = Field(ge=1)
    limit_train_batches: int | float = Field(gt=0)
    limit_val_batches: int | float = Field(gt=0)
    limit_test_batches: int | float = Field(gt=0)
    overfit_batches: int | float = Field(ge=0)
    log_every_n_steps: int = Field(ge=1)
    patience: int | None = Field(ge=1)
    deterministic: bool
    profiler: Literal["simple", "advanced"] | None
    progress: bool

    @field_validator("strategy")
    @classmethod
    def _keeps_weights_whole_and_results(cls, strategy: str) -> str:
        if any(word in strategy for word in ("spawn", "fork", "notebook")):
            raise ValueError("processes made that way hand no results back: use ddp")
        if strategy != "fsdp" and re.search("fsdp|deepspeed|model_parallel", strategy):
            raise ValueError("weights are split by fsdp alone here")
        return strategy


# ~ if not cookiecutter.use_wandb
class TrackingSettings(Strict):
    """Who follows a run besides its folder; see ``tracker.py``."""

    target: str = Field(alias="_target_")


# ~ endif
class Settings(Strict):
    """The whole tree of a training."""

    runs: Path
    resume: str | None
    seed: int = Field(ge=0, lt=2**32)
    data: DataSettings
    loader: LoaderSettings
    model: ModelSettings
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    ema: EMASettings
    pictures: PicturesSettings
    trainer: TrainerSettings
    tracking: TrackingSettings | None = None

    @field_validator("tracking", mode="before")
    @classmethod
    def _none_is_empty(cls, tracking: object) -> object:
        return tracking or None

    @field_validator("trainer")
    @classmethod
    def _splits_what_is_not_compiled(
        cls, trainer: TrainerSettings, info: ValidationInfo
    ) -> TrainerSettings:
        if trainer.strategy == "fsdp" and "model" in info.data and info.data["model"].compile:
            raise ValueError("PyTorch cannot compile what fsdp splits: leave out model.compile")
        return trainer


class EvaluateSettings(Settings):
    """A training's settings, and what to evaluate."""

    checkpoint: Path
    split: Literal["train", "val", "test"]

    @field_validator("checkpoint", mode="before")
    @classmethod
    def _exists(cls, checkpoint: object) -> object:
        return existing_checkpoint(checkpoint)


class PredictSettings(Settings):
    """A training's settings, and what to predict."""

    checkpoint: Path
    source: str

    @field_validator("checkpoint", mode="before")
    @classmethod
    def _exists(cls, checkpoint: object) -> object:
        return existing_checkpoint(checkpoint)

    @field_validator("source", mode="before")
    @classmethod
    def _named(cls, source: object) -> object:
        if source is None:
            raise ValueError("say what to predict: source=<image, video, folder or glob>")
        return source


class BenchSettings(Settings):
    """A training's settings, and how long to time them."""

    warmup: int = Field(ge=1)
    steps: int = Field(ge=1)


def existing_checkpoint(checkpoint: object) -> object:
    """Refuse a checkpoint that is not named or not there.

    Raises:
        ValueError: with the fix.
    """
    if checkpoint is None:
        raise ValueError("say which: checkpoint=runs/<run id>/checkpoints/best.ckpt")
    # ~ if cookiecutter.use_wandb
    if str(checkpoint).startswith("wandb:"):
        return checkpoint  # fetched when all else is known to be right
    # ~ endif
    if not Path(str(checkpoint)).is_file():
        raise ValueError(f"there is no file {checkpoint}")
    return checkpoint
