"""The settings of ``export``."""

from importlib.util import find_spec
from typing import Literal

from pydantic import Field, field_validator

from ..settings.schema import CheckpointFile, Settings

ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class ExportSettings(Settings):
    """The settings of ``export``."""

    checkpoint: CheckpointFile
    format: Literal["onnx", "torch"] = Field(
        description="onnx writes model.onnx; torch writes model.pt2, for torch.export.load."
    )

    @field_validator("format")
    @classmethod
    def _can_be_written(cls, name: str) -> str:
        missing = [package for package in ONNX_PACKAGES if not find_spec(package)]
        if name == "onnx" and missing:
            raise ValueError(
                f"onnx needs packages that are not installed, {', '.join(missing)}: "
                "uv sync --extra onnx, or format=torch"
            )
        return name
