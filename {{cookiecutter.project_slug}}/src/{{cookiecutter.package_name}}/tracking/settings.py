"""The settings of Weights & Biases: ``configs/tracking/wandb.yaml``.

The API key is not a setting, because settings are stored with the run.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from ..settings.check import Strict

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from lightning.pytorch.loggers import Logger

    from ..run.folder import Run
    from ..settings.tree import Settings

Mode = Literal["online", "offline", "disabled"]


class MediaSettings(Strict):
    """The number and the size of the images that are logged."""

    images: int = Field(ge=0, le=108)  # W&B shows 108 images of a key at most
    every_n_validations: int = Field(ge=1)
    # ~ if cookiecutter.scope == "complete"
    worst: int = Field(ge=0, le=108)
    video: bool
    clips: int = Field(ge=0, le=32)
    embeddings: int = Field(ge=0, le=10_000)
    # ~ endif
    pixels: int = Field(ge=32, le=4096)


# ~ if cookiecutter.scope == "complete"
class TableSettings(Strict):
    """The number of rows of the tables."""

    data: int = Field(ge=0, le=10_000)
    predictions: int = Field(ge=0, le=10_000)


class AlertRule(Strict):
    """An alert for a metric that compares with ``value`` in ``patience`` validations in a row."""

    metric: str
    op: Literal["<", "<=", ">", ">="]
    value: float
    patience: int = Field(default=1, ge=1)
    level: Literal["INFO", "WARN", "ERROR"] = "WARN"
    once: bool = True


class AlertSettings(Strict):
    """The events that send an alert."""

    rules: list[AlertRule]
    not_finite: bool
    no_improvement: int | None = Field(ge=1)
    failed: bool
    finished: bool


# ~ endif
class WandbSettings(Strict):
    """A tracker for ``tracking``; see ``training/loggers.py``."""

    target: str = Field(alias="_target_")
    project: str | None
    entity: str | None
    name: str | None
    group: str | None
    job_type: str | None
    tags: list[str]
    notes: str | None
    mode: Mode | None
    strict: bool
    init_timeout: float = Field(gt=0)
    finish_timeout: float = Field(gt=0)
    # ~ if cookiecutter.scope == "complete"
    log_model: Literal["best", "all"] | None
    log_model_every_n_epochs: int | None = Field(ge=1)
    prune_models: bool
    log_data: Literal["reference", "content"] | None
    watch: Literal["gradients", "parameters", "all"] | None
    tables: TableSettings
    alerts: AlertSettings
    # ~ else
    log_model: Literal["best"] | None
    # ~ endif
    media: MediaSettings

    @field_validator("project", "entity", "mode", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value or None  # a variable that is not set often arrives as ""

    def follow(
        self, settings: "Settings", run: "Run", *, job: str
    ) -> AbstractContextManager[tuple[Sequence["Logger"], Sequence["Callback"]]]:
        """Return a context that opens a W&B run and yields its loggers and callbacks."""
        from .session import follow  # noqa: PLC0415 - it imports PyTorch

        return follow(self, settings, run, job=job)
