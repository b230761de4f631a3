"""The settings of Weights & Biases; their defaults are in ``configs/tracking/wandb.yaml``.

The API key is not a setting, because settings are stored with the run.
"""

from typing import ClassVar, Literal

from pydantic import Field

from ..settings.check_settings import Strict

Mode = Literal["online", "offline", "disabled", "shared"]


class MediaSettings(Strict):
    """The number and the size of the images that are logged."""

    # W&B shows at most 108 images of a key.
    images: int = Field(
        ge=0, le=108, description="Images at a time, at most pictures.count; 0: no pictures at all."
    )
    # ~ if cookiecutter.scope == "complete"
    every_n_steps: int | None = Field(ge=1, description="Steps between images; null is off.")
    # ~ endif
    pixels: int = Field(ge=32, le=4096, description="Largest side of a logged image, in pixels.")


# ~ if cookiecutter.scope == "complete"
class AlertRule(Strict):
    """Alert when ``metric op value`` has held for ``patience`` logged values in a row."""

    metric: str
    op: Literal["<", "<=", ">", ">="]
    value: float
    patience: int = Field(default=1, ge=1)
    level: Literal["INFO", "WARN", "ERROR"] = "WARN"
    once: bool = True  # not again while it goes on to hold


class AlertSettings(Strict):
    """The events that send an alert, besides the failure of a run."""

    rules: list[AlertRule] = Field(
        description="Rules such as {metric: train/loss, op: '>', value: 5, patience: 2}."
    )
    finished: bool = Field(description="Alert when the run finishes.")


# ~ endif
class WandbSettings(Strict):
    """The settings of a W&B run."""

    # The function that opens the run, by its name, since its module imports PyTorch.
    opened_by: ClassVar[str] = f"{__package__}.wandb_run:wandb_run"

    target: str = Field(alias="_target_")
    project: str | None = Field(description="The project of the run.")
    entity: str | None = Field(description="The user or team that owns it; null is the account's.")
    name: str | None = Field(description="null is WANDB_NAME, else made of model, data and id.")
    group: str | None = Field(description="Runs of a group are shown together.")
    job_type: str | None = Field(description="null is WANDB_JOB_TYPE, else the command's name.")
    tags: list[str] = Field(description="Labels of the run; [] uses those in WANDB_TAGS.")
    notes: str | None = Field(description="A text about the run.")
    mode: Mode | None = Field(description="null is WANDB_MODE, else online if there is an API key.")
    init_timeout: float = Field(gt=0, description="Seconds to open the run, else it is offline.")
    finish_timeout: float = Field(gt=0, description="Seconds to wait for the upload at the end.")
    # ~ if cookiecutter.scope == "complete"
    log_model: Literal["best", "all", "none"] | None = Field(
        description="Log the best checkpoint, or each of trainer.save_top_k and the last."
    )
    log_data: Literal["reference", "content"] | None = Field(
        description="Log the data set by reference, or with its files; null: do not log it."
    )
    watch: Literal["gradients", "parameters", "all"] | None = Field(
        description="Log histograms of gradients, parameters or both."
    )
    watch_every_n_steps: int = Field(ge=1, description="Steps between histograms, after step 1.")
    alerts: AlertSettings
    # ~ else
    log_model: Literal["best", "none"] | None = Field(description="Log the best checkpoint.")
    # ~ endif
    media: MediaSettings
