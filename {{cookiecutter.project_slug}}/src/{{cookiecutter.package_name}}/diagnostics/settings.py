"""The settings of ``bench`` and ``doctor``."""

from pydantic import Field

from ..settings.tree import Settings


class BenchSettings(Settings):
    """The settings of ``bench`` and ``doctor``."""

    warmup: int = Field(ge=1, description="Batches before the measurement.")
    steps: int = Field(ge=1, description="Batches of the measurement.")
