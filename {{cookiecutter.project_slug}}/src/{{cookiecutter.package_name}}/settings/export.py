"""The settings of ``export``."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from .tree import Settings, existing_checkpoint

ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class ExportSettings(Settings):
    """The settings of a training, the checkpoint to export and the format of the file."""

    checkpoint: Path
    format: Literal["onnx", "torch"]

    @field_validator("checkpoint", mode="before")
    @classmethod
    def _is_a_checkpoint(cls, checkpoint: object) -> object:
        if str(checkpoint).endswith(".onnx"):
            raise ValueError("is exported already; name a checkpoint of a training: *.ckpt")
        return existing_checkpoint(checkpoint)

    @field_validator("format")
    @classmethod
    def _has_its_packages(cls, name: str) -> str:
        missing = [package for package in ONNX_PACKAGES if not find_spec(package)]
        if name == "onnx" and missing:
            raise ValueError(
                f"onnx needs packages that are not installed, {', '.join(missing)}: "
                "uv sync --extra onnx, or format=torch"
            )
        return name
