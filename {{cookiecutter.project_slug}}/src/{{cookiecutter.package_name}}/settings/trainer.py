"""The settings of Lightning's trainer."""

# ~ if cookiecutter.scope == "complete"
import re
from typing import Annotated, Any, Literal

# ~ else
from typing import Annotated, Literal

# ~ endif
from pydantic import Field, field_validator

from .check_settings import Strict

Batches = Annotated[
    int | float, Field(gt=0, description="Fraction (0.1) or number (10) of batches to use.")
]


class TrainerSettings(Strict):
    """Arguments of Lightning's ``Trainer``, and early stopping."""

    accelerator: Literal["auto", "cpu", "gpu", "mps", "cuda"] = Field(description="The hardware.")
    devices: int | str = Field(description="Devices per machine: a number, auto, or indices: 0,1.")
    # ~ if cookiecutter.scope == "complete"
    num_nodes: int = Field(ge=1, description="Number of machines.")
    # ~ endif
    strategy: str = Field(description="auto, or ddp for several processes.")
    # ~ if cookiecutter.scope == "complete"
    sync_batchnorm: bool = Field(description="Batch norms use the batches of all processes.")
    # ~ endif
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed", "bf16-true"] = Field(
        description="auto is bf16-mixed on an NVIDIA GPU that supports it, 16-mixed on another "
        "NVIDIA GPU, and 32-true on other devices."
    )
    max_epochs: int | None = Field(
        ge=1, description="Epochs; null derives them from max_steps or the number of images."
    )
    max_steps: int | None = Field(ge=1, description="Optimiser steps after which training ends.")
    # ~ if cookiecutter.scope == "complete"
    max_time: str | None = Field(description="Time limit, as days:hours:minutes:seconds.")
    # ~ endif
    accumulate_grad_batches: int = Field(ge=1, description="Batches for each optimiser step.")
    # ~ if cookiecutter.scope == "complete"
    val_check_interval: int | float = Field(
        gt=0, description="Validate after this fraction (0.5) or number (100) of the batches."
    )
    check_val_every_n_epoch: int = Field(ge=1, description="Epochs between two validations.")
    # ~ endif
    limit_train_batches: Batches
    limit_val_batches: Batches
    limit_test_batches: Batches
    overfit_batches: int | float = Field(ge=0, description="Train on this many batches; 0 is off.")
    log_every_n_steps: int = Field(ge=1, description="Optimiser steps between two rows of metrics.")
    patience: int | None = Field(ge=1, description="Stop after n validations without improvement.")
    save_top_k: int = Field(ge=1, description="Best checkpoints that remain besides last.ckpt.")
    deterministic: bool = Field(description="Use deterministic algorithms only; they are slower.")
    profiler: Literal["simple", "advanced"] | None = Field(
        description="Write fit-profile.txt and test-profile.txt into the run folder."
    )
    progress: bool = Field(description="Whether progress bars are shown.")

    # ~ if cookiecutter.scope == "complete"
    extra: dict[str, Any] | None = Field(
        description="Further arguments of Lightning's Trainer, such as trainer.extra.min_epochs=3."
    )

    # ~ endif
    # ~ if cookiecutter.scope == "complete"
    @field_validator("max_time", mode="before")
    @classmethod
    def _has_days(cls, time: object) -> object:
        # YAML reads 1:08:00:00 without quotes as a number.
        if time is not None and not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", str(time)):
            raise ValueError("must be days:hours:minutes:seconds, such as 00:08:00:00")
        return time

    @field_validator("val_check_interval")
    @classmethod
    def _is_fraction_or_number(cls, interval: int | float) -> int | float:
        if isinstance(interval, float) and interval > 1:
            raise ValueError("must be a fraction up to 1.0, or a whole number of batches")
        return interval

    # ~ endif
    @field_validator("strategy")
    @classmethod
    def _keeps_weights_and_results(cls, strategy: str) -> str:
        refused = ("spawn", "fork", "notebook", "fsdp", "deepspeed", "model_parallel")
        if any(word in strategy for word in refused):
            raise ValueError(f"{strategy} loses results or divides the weights: use ddp")
        return strategy
