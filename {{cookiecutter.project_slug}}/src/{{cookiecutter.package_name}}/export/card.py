"""Describe an exported model for programs (``model.json``) and for people (``MODEL_CARD.md``)."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import timm
from torch import Tensor

# ~ if cookiecutter.task == "classification"
from ..classification import export as task_export
from ..classification.module import ClassificationModule as TaskModule
# ~ endif
from ..data.datamodule import Datasets
from ..data.reading_summary import number_of
# ~ if cookiecutter.task == "detection"
from ..detection import export as task_export
from ..detection.coco_pretrained import coco_source
from ..detection.module import DetectionModule as TaskModule
# ~ endif
from ..run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from ..segmentation import export as task_export
from ..segmentation.module import SegmentationModule as TaskModule
# ~ endif
from ..settings.check_settings import flattened
from ..settings.schema import TASK, Settings
from ..training.checkpoint import read_checkpoint
from .settings import ONNX_PACKAGES, ExportSettings

# How `data.fit` resizes images.
FITS = {
    "letterbox": "with their aspect ratio to fit into this size, and centred on grey (128)",
    "stretch": "to this size, without regard to their aspect ratio",
    "crop": "with their aspect ratio to cover this size, of which the centre is used",
}
# Python code for the model card; `model_card.md` has the rest.
RUN_CODE = {
    "onnx": """\
session = onnxruntime.InferenceSession(description["file"])
outputs = session.run(None, {"images": images})""",
    "torch": """\
network = torch.export.load(description["file"]).module()
with torch.inference_mode():
    outputs = [output.numpy() for output in network(torch.tensor(images))]""",
}


class CardTemplate(Template):
    """A template with dotted names: ``${data.train}`` is ``description["data"]["train"]``."""

    braceidpattern = r"[a-z_.]+"


def describe_model(
    module: TaskModule, datasets: Datasets, outputs: Sequence[Tensor], settings: ExportSettings
) -> dict[str, Any]:
    """Return the entries of ``model.json`` about input, outputs, training and data of a model."""
    size = settings.data.input_size
    normalisation = module.network.normalisation
    training = Run(settings.checkpoint.absolute().parent.parent)
    packages = ("torch", "torchvision", "timm", *(ONNX_PACKAGES * (settings.format == "onnx")))
    sections = {"seed", "loader", "model", "optimizer", "schedule", "ema", "trainer"}
    channels, value_range = settings.data.channels, settings.data.value_range
    colors = "RGB" if channels == 3 else number_of(channels, "channels")
    colors += ", 0 to 255"
    if value_range:
        low, high = value_range
        colors += f"; values of more than 8 bits from {low:g} to {high:g} are scaled to it"
    return {
        "format": settings.format,
        "task": TASK,
        "classes": module.classes,
        "input": {
            "name": "images",
            "dtype": "uint8",
            "shape": ["batch", channels, *size],
            "colours": colors,
            "value_range": value_range,
        },
        "preprocessing": {
            "fit": settings.data.fit,
            "resize": FITS[settings.data.fit],
            "size": list(size),
            "interpolation": "bilinear",
            "antialias": True,
            "mean": _from_0_to_1(normalisation.mean),
            "std": _from_0_to_1(normalisation.std),
            "normalisation": "part of the model: (images / 255 - mean) / std",
        },
        "outputs": {
            name: {"dtype": "float32", "shape": ["batch", *output.shape[1:]], "meaning": meaning}
            for (name, meaning), output in zip(task_export.OUTPUTS.items(), outputs, strict=True)
        },
        "data": {
            "format": settings.data.name,
            "folder": settings.data.root.name,
            "train": len(datasets.train),
            "val": len(datasets.val),
            "test": len(datasets.test),
        },
        "metrics": metrics_of_test(training, settings.checkpoint),
        "training": flattened(module.settings.model_dump(mode="json", include=sections)),
        "terms": _terms(module.settings),
        "checkpoint": str(settings.checkpoint),
        "trained_in": training.id if training.settings_file.is_file() else None,
        "versions": {package: version(package) for package in packages},
    }


def metrics_of_test(training: Run, checkpoint: Path) -> dict[str, Any]:
    """Return the metrics of the test of a training run; none if it has tested other weights."""
    tested = training.best if training.best.is_file() else training.last
    if not (training.results.is_file() and tested.is_file()):
        return {}
    metrics: dict[str, Any] = json.loads(training.results.read_text(encoding="utf-8"))
    steps = {read_checkpoint(path).get("global_step") for path in (tested, checkpoint)}
    return metrics if len(steps) == 1 else {}


def _from_0_to_1(values: Tensor) -> list[float]:
    """Return values for pixels from 0 to 255 as values for pixels from 0 to 1."""
    return [round(value, 6) for value in (values.flatten() / 255).tolist()]


def _terms(settings: Settings) -> str:
    """Return a sentence with the source and the terms of use of the pretrained weights."""
    name = settings.model.backbone
    start = settings.init or settings.model.pretrained
    # ~ if cookiecutter.task == "detection"
    if start == "coco":
        source = coco_source(settings.model.architecture)
        return f"The training began with the weights for COCO of {source}."
    # ~ endif
    if isinstance(start, str) and start != "imagenet":
        return f"The training began with the weights `{start}`, whose terms apply."
    if not start:
        return f"`{name}` was trained from scratch: it contains no weights of others."
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.has_weights:
        return f"The training of `{name}` began with weights that timm has no record of."
    source = f"https://huggingface.co/{known.hf_hub_id}" if known.hf_hub_id else known.url
    terms = known.license or "not stated there"
    return f"The training of `{name}` began with the weights of {source}, whose terms are: {terms}."


def model_card(description: Mapping[str, Any]) -> str:
    """Return the text of ``MODEL_CARD.md`` for the content of ``model.json``."""
    text = Path(__file__).with_name("model_card.md").read_text(encoding="utf-8")
    outputs = {
        name: f"{output['dtype']} {_shape(output)}, {output['meaning']}"
        for name, output in description["outputs"].items()
    }
    rules = {k: value for k, value in description["postprocessing"].items() if k != "steps"}
    metrics = _bullets(flattened(description["metrics"]))
    height, width = description["preprocessing"]["size"]
    return CardTemplate(text).substitute(
        flattened(description),
        height=height,
        width=width,
        class_names=", ".join(description["classes"]),
        output_list=_bullets(outputs),
        steps=f"{description['postprocessing']['steps']}\n\n{_bullets(rules)}".strip(),
        package="onnxruntime" if description["format"] == "onnx" else "torch",
        shape=_shape(description["input"]),
        load_code=_load_code(description),
        run_code=RUN_CODE[description["format"]],
        metric_list=metrics or "Unknown: its training run has not tested this checkpoint.",
        setting_list=_bullets(description["training"]),
        difference=f"{description['agreement']['max_difference']:.1e}",
    )


def _load_code(description: Mapping[str, Any]) -> str:
    """Return Python code that opens a file as ``planes``, an 8-bit image for each channel."""
    channels, bounds = description["input"]["shape"][1], description["input"]["value_range"]
    if channels == 3 and not bounds:
        opened = 'ImageOps.exif_transpose(Image.open("photo.jpg"))'
        return f'planes = {opened}.convert("RGB").split()'
    lines = ['values = np.load("photo.npy")  # height x width, or height x width x channels']
    if bounds:
        low, high = bounds
        share = f"(values.astype(float) - {low:g}) / {high - low:g}"
        lines.append(f"values = ({share} * 255).clip(0, 255).round().astype(np.uint8)")
    planes = "[Image.fromarray(plane) for plane in np.moveaxis(np.atleast_3d(values), 2, 0)]"
    if channels == 3:
        planes = 'Image.fromarray(values).convert("RGB").split()'
    return "\n".join([*lines, f"planes = {planes}"])


def _shape(tensor: Mapping[str, Any]) -> str:
    return f"[{', '.join(map(str, tensor['shape']))}]"


def _bullets(values: Mapping[str, object]) -> str:
    numbers = {name: f"{value:.4g}" for name, value in values.items() if isinstance(value, float)}
    return "\n".join(f"- `{name}`: {value}" for name, value in {**values, **numbers}.items())
