"""What the tracker can be told. The API key is no setting: it never enters the config."""

from typing import Literal

from pydantic import Field, field_validator

from ..validation import Strict

Mode = Literal["online", "offline", "disabled"]


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
    images: int = Field(ge=0, le=108)  # more of one key the server does not show
    every_n_epochs: int = Field(ge=1)
    init_timeout: float = Field(gt=0)
    finish_timeout: float = Field(gt=0)

    @field_validator("project", "entity", "mode", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value or None  # a variable that is not set often arrives as ""
