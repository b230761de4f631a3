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
from ..settings.schema import Settings
from ..training.checkpoint import read_checkpoint
from .settings import ONNX_PACKAGES, ExportSettings

# How `data.fit` resizes images: in words, and in Python code for the model card.
FITS = {
    "letterbox": "with their aspect ratio to fit into this size, and centred on grey (128)",
    "stretch": "to this size, without regard to their aspect ratio",
    "crop": "with their aspect ratio to cover this size, of which the centre is used",
}
SCALE_CODE = """\
size = (
    min(width, image.width * height // image.height),
    min(height, image.height * width // image.width),
)"""
FIT_CODE = {
    "letterbox": SCALE_CODE,
    "stretch": "size = (width, height)",
    "crop": SCALE_CODE.replace("min", "max"),
}
RUN_CODE = {
    "onnx": """\
session = onnxruntime.InferenceSession("$file")
$outputs = session.run(None, {"images": images})""",
    "torch": """\
network = torch.export.load("$file").module()
with torch.inference_mode():
    $outputs = (output.numpy() for output in network(torch.tensor(images)))""",
}


class CardTemplate(Template):
    """A template with dotted names: ``${data.train}`` is ``description["data"]["train"]``."""

    braceidpattern = r"[a-z_.]+"


def describe_model(
    module: TaskModule, datasets: Datasets, outputs: Sequence[Tensor], settings: ExportSettings
) -> dict[str, Any]:
    """Return the entries of ``model.json`` about input, outputs, training and data of a model.

    The shapes are those of ``outputs``, which the exported network has returned for a batch.
    """
    size = settings.data.input_size
    normalisation = module.network.normalisation
    training = Run(settings.checkpoint.absolute().parent.parent)
    packages = ("torch", "torchvision", "timm", *(ONNX_PACKAGES * (settings.format == "onnx")))
    sections = {"seed", "loader", "model", "optimizer", "schedule", "ema", "trainer"}
    return {
        "format": settings.format,
        "task": task_export.TASK,
        "classes": module.classes,
        "input": {
            "name": "images",
            "dtype": "uint8",
            "shape": ["batch", settings.data.channels, *size],
            "colours": _colors(settings),
            "value_range": settings.data.value_range,
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


def _colors(settings: Settings) -> str:
    channels, bounds = settings.data.channels, settings.data.value_range
    text = "RGB, 0 to 255" if channels == 3 else f"{number_of(channels, 'channels')}, 0 to 255"
    if bounds:
        text += f"; values of more than 8 bits from {bounds[0]:g} to {bounds[1]:g} are scaled to it"
    return text


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
    if not settings.model.pretrained:
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
    onnx, preprocessing = description["format"] == "onnx", description["preprocessing"]
    outputs = {
        name: f"{output['dtype']} [{', '.join(map(str, output['shape']))}], {output['meaning']}"
        for name, output in description["outputs"].items()
    }
    rules = {k: value for k, value in description["postprocessing"].items() if k != "steps"}
    run_code = Template(RUN_CODE[description["format"]]).substitute(
        file=description["file"], outputs=", ".join(outputs) + "," * (len(outputs) == 1)
    )
    metrics = _bullets(flattened(description["metrics"]))
    return CardTemplate(text).substitute(
        flattened(description),
        height=preprocessing["size"][0],
        width=preprocessing["size"][1],
        class_names=", ".join(description["classes"]),
        output_list=_bullets(outputs),
        steps=f"{description['postprocessing']['steps']}\n\n{_bullets(rules)}".strip(),
        package="onnxruntime" if onnx else "torch",
        shape=f"[{', '.join(map(str, description['input']['shape']))}]",
        load_code=_load_code(description),
        fit_code=FIT_CODE[preprocessing["fit"]],
        fitted="fit(image)"
        if description["input"]["shape"][1] == 3
        else "np.dstack([fit(plane) for plane in planes])",
        run_code=run_code,
        use_code=task_export.use_code(description["postprocessing"]).strip(),
        metric_list=metrics or "Unknown: its training run has not tested this checkpoint.",
        setting_list=_bullets(description["training"]),
        difference=f"{description['agreement']['max_difference']:.1e}",
    )


def _load_code(description: Mapping[str, Any]) -> str:
    """Return Python code that opens a file as ``image``, or its channels as ``planes``."""
    channels, bounds = description["input"]["shape"][1], description["input"]["value_range"]
    if channels == 3 and not bounds:
        return 'image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")'
    lines = ['values = np.load("photo.npy")  # height x width, or height x width x channels']
    if bounds:
        low, high = bounds
        share = f"(values.astype(float) - {low:g}) / {high - low:g}"
        lines.append(f"values = ({share} * 255).clip(0, 255).round().astype(np.uint8)")
    if channels == 3:
        return "\n".join([*lines, 'image = Image.fromarray(values).convert("RGB")'])
    lines += [
        "planes = [Image.fromarray(plane) for plane in np.moveaxis(np.atleast_3d(values), 2, 0)]",
        "image = planes[0]",
    ]
    return "\n".join(lines)


def _bullets(values: Mapping[str, object]) -> str:
    numbers = {name: f"{value:.4g}" for name, value in values.items() if isinstance(value, float)}
    return "\n".join(f"- `{name}`: {value}" for name, value in {**values, **numbers}.items())
