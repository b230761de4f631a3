"""The settings of ``bench`` and ``doctor``."""

from pydantic import Field

from ..settings.schema import Settings


class BenchSettings(Settings):
    """The settings of ``bench``, which ``doctor`` has, too."""

    warmup: int = Field(ge=1, description="Training batches before the measurement.")
    steps: int = Field(ge=1, description="Training batches that are measured.")


class DoctorSettings(BenchSettings):
    """The settings of ``doctor``."""

    steps: int = Field(ge=0, description="Training batches that are measured; 0: data checks only.")
