"""What the tracker can be told. The API key is no setting: it never enters the config."""

from typing import Literal

from pydantic import Field, field_validator

from ..settings.check import Strict

Mode = Literal["online", "offline", "disabled"]


class MediaSettings(Strict):
    """How many pictures are sent, and how large."""

    images: int = Field(ge=0, le=108)  # more of one key the server does not show
    every_n_validations: int = Field(ge=1)
    pixels: int = Field(ge=32, le=4096)
    worst: int = Field(ge=0, le=108)
    video: bool
    clips: int = Field(ge=0, le=32)
    embeddings: int = Field(ge=0, le=10_000)


class TableSettings(Strict):
    """How many rows a table may have."""

    data: int = Field(ge=0, le=10_000)
    predictions: int = Field(ge=0, le=10_000)


class AlertRule(Strict):
    """Tell somebody when a metric stays beyond a value; see ``alerts.py``."""

    metric: str
    op: Literal["<", "<=", ">", ">="]
    value: float
    patience: int = Field(default=1, ge=1)
    level: Literal["INFO", "WARN", "ERROR"] = "WARN"
    once: bool = True


class AlertSettings(Strict):
    """When somebody is told."""

    rules: list[AlertRule]
    not_finite: bool
    no_improvement: int | None = Field(ge=1)
    failed: bool
    finished: bool


class TrackingSettings(Strict):
    """``configs/tracking/wandb.yaml``."""

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
    watch: Literal["gradients", "parameters", "all"] | None
    log_model: Literal["best", "all"] | None
    log_model_every_n_epochs: int | None = Field(ge=1)
    prune_models: bool
    log_data: Literal["reference", "content"] | None
    media: MediaSettings
    tables: TableSettings
    alerts: AlertSettings

    @field_validator("project", "entity", "mode", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value or None  # a variable that is not set often arrives as ""
