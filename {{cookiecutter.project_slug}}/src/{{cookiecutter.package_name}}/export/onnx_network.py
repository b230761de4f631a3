"""ONNX files: write them, and run them in the place of a network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..settings.tree import Settings
from ..task import exporting

OPSET = 18  # the oldest that PyTorch writes without a translation


def write_onnx(
    program: torch.export.ExportedProgram,
    path: Path,
    *,
    outputs: Sequence[str],
    dynamic: dict[str, Any],
) -> None:
    """Write a program as one file, weights included; its input is named ``images``."""
    import onnx  # noqa: PLC0415 - it may be missing

    converted = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=["images"],
        output_names=outputs,
        dynamic_shapes=dynamic,
        external_data=False,
        verbose=False,
    )
    model = cast("Any", converted).model_proto
    for part in (model.graph, *model.graph.node, *model.graph.value_info):
        part.ClearField("metadata_props")  # how PyTorch came to it
    onnx.save(model, path)


def add_metadata(path: Path, about: Mapping[str, object], settings: Settings) -> None:
    """Write into an ONNX file what it is, a key for each entry, with JSON values.

    Args:
        path: the file.
        about: what ``model.json`` says.
        settings: those of the training, as ``predict`` needs them.
    """
    import onnx  # noqa: PLC0415 - it may be missing

    model = onnx.load(path)
    tree = settings.model_copy(update={"tracking": None}).model_dump(mode="json", by_alias=True)
    content = {**about, "settings": tree}
    onnx.helper.set_model_props(model, {key: json.dumps(one) for key, one in content.items()})
    onnx.save(model, path)


def open_session(path: Path) -> Any:
    """Open an ONNX file, to run on the CPU.

    Raises:
        UsageError: if onnxruntime is not installed, or cannot read the file.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - it may be missing
    except ImportError as error:
        raise UsageError(
            f"{path} needs the package onnxruntime, which is not installed.\n"
            "Install it: uv sync --extra onnx"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it raises many kinds for what is no ONNX file
        raise UsageError(f"{path} cannot be read: {type(error).__name__}.") from error


def run_session(session: Any, images: Tensor) -> list[Tensor]:
    """The outputs for uint8 images [B, 3, S, S], on their device."""
    outputs = session.run(None, {"images": images.contiguous().cpu().numpy()})
    return [torch.from_numpy(one).to(images.device) for one in outputs]


def read_metadata(path: Path) -> dict[str, Any]:
    """What an exported file says of itself.

    Raises:
        UsageError: if it was not exported by this project.
    """
    content = open_session(path).get_modelmeta().custom_metadata_map
    missing = {"settings", "classes", "postprocessing"} - set(content)
    if missing:
        raise UsageError(f"{path} is not one of this project: it has no {', '.join(missing)}.")
    return {key: json.loads(value) for key, value in content.items()}


class OnnxNetwork(nn.Module):
    """Stands for the network that was exported: takes and returns the same."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.session = open_session(path)
        self.rules = read_metadata(path)["postprocessing"]

    def forward(self, images: Tensor) -> Any:
        """Run on uint8 images [B, 3, S, S]."""
        return exporting.from_outputs(run_session(self.session, images), self.rules)
