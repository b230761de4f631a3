"""Write models as ONNX files, and use such a file in place of a checkpoint."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

# ~ if cookiecutter.task == "classification"
from ..classification import export as task_export
from ..classification.module import ClassificationModule as TaskModule
# ~ endif
from ..data.reading_summary import number_of
# ~ if cookiecutter.task == "detection"
from ..detection import export as task_export
from ..detection.module import DetectionModule as TaskModule
# ~ endif
from ..errors import UsageError
from ..inference import load_model
# ~ if cookiecutter.task == "segmentation"
from ..segmentation import export as task_export
from ..segmentation.module import SegmentationModule as TaskModule
# ~ endif
from ..settings.schema import Settings
from ..training import checkpoint

OPSET = 18  # the oldest version that PyTorch writes without a conversion
DYNAMIC_SHAPES = {"images": {0: torch.export.Dim("batch", min=1)}}  # batches of any size


def write_onnx(
    program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, object]
) -> None:
    """Write a program with the input ``images`` as one file, with metadata as values in JSON."""
    import onnx  # noqa: PLC0415 - an optional package

    converted = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=["images"],
        output_names=list(task_export.OUTPUTS),
        dynamic_shapes=DYNAMIC_SHAPES,
        external_data=False,
        verbose=False,
    )
    model = cast("Any", converted).model_proto
    for part in (model.graph, *model.graph.node, *model.graph.value_info):
        part.ClearField("metadata_props")  # PyTorch's traces, with paths of this machine
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.save(model, path)


class OnnxNetwork(nn.Module):
    """An ONNX file in place of the network that it was exported from; it runs on the CPU."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        try:
            import onnxruntime  # noqa: PLC0415 - an optional package
        except ImportError as error:
            raise UsageError(
                f"{path} needs the package onnxruntime, which is not installed.\n"
                "Install it: uv sync --extra onnx"
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        providers = ["CPUExecutionProvider"]
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:  # onnxruntime raises many kinds for a file that is not ONNX
            raise UsageError(f"{path} cannot be read: {type(error).__name__}.") from error

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The entries of ``model.json`` except ``agreement``, and the ``settings`` of training."""
        content = self.session.get_modelmeta().custom_metadata_map
        missing = sorted({"settings", "classes", "postprocessing"} - set(content))
        if missing:
            raise UsageError(
                f"{self.path} was not exported by this project: it has no {', '.join(missing)}."
            )
        return {key: json.loads(value) for key, value in content.items()}

    def outputs(self, images: Tensor) -> list[Tensor]:
        """Return the outputs for uint8 images [B, C, H, W], on the device of the images."""
        outputs = self.session.run(None, {"images": images.contiguous().cpu().numpy()})
        return [torch.from_numpy(output).to(images.device) for output in outputs]

    def forward(self, images: Tensor) -> Any:
        """Return the decoded outputs for uint8 images [B, C, H, W], as the network does."""
        return task_export.decode_outputs(self.outputs(images), self.metadata["postprocessing"])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, or the metadata of an ONNX file, which is similar."""
    if path.suffix != ".onnx":
        return checkpoint.read_checkpoint(path)
    return OnnxNetwork(path).metadata


def load_module(path: Path, settings: Settings) -> TaskModule:
    """Load the module of a checkpoint, or of an ONNX file, which runs in place of the network.

    The section ``model`` of ``settings`` replaces the stored section.
    """
    if path.suffix != ".onnx":
        return load_model.load_module(path, settings)
    network = OnnxNetwork(path)
    channels, height, width = network.session.get_inputs()[0].shape[1:]
    if (channels, height, width) != (settings.data.channels, *settings.data.input_size):
        raise UsageError(
            f"{path} takes images of {width} x {height} pixels and "
            f"{number_of(channels, 'channels')}.\n"
            "Leave out data.image_size and data.channels, or export the checkpoint again."
        )
    module = load_model.build_module(network.metadata, settings)
    cast("Any", module).network = network
    return module.eval()
