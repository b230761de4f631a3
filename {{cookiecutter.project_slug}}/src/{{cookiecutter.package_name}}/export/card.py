"""What an exported model is, for programs (``model.json``) and for people (``MODEL_CARD.md``)."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import timm
from torch import Tensor

from ..data.datamodule import Datasets
from ..run.files import write_text
from ..run.folder import Run
from ..settings.tree import Settings
from ..task import TaskModule, exporting
from .settings import ONNX, ExportSettings

_CARD = Template("""\
# {{ cookiecutter.project_slug }}: $task

`$file` takes images of $size x $size pixels and knows: $classes. For programs, `model.json` says
the same as this page.

## Input and output

`images`: uint8 [batch, 3, $size, $size], RGB, 0 to 255, as many as you like. Resizing is bilinear
and antialiased: $resize. Normalisation (mean $mean, std $std) is part of the model.

$outputs

$steps

## Run it

```python
$snippet```

## Data

`$data` in `$root`: $counts.

## Metrics

$metrics

## Training

$training

On $images of these images, the file and the checkpoint differ by $difference at most.

## Licence of the weights

$weights
# ~ if cookiecutter.license != "none"
The code that they were trained with: {{ cookiecutter.license }}.
# ~ endif
""")
_SNIPPET = """\
import json
from pathlib import Path

import numpy as np
import $package
from PIL import Image, ImageOps

about = json.loads(Path("model.json").read_text(encoding="utf-8"))
image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
fitted = $fit
images = np.asarray(fitted).transpose(2, 0, 1)[None]  # several: np.stack
"""
_RUNNING = {
    "onnx": """\
session = onnxruntime.InferenceSession("$file")
$names = session.run(None, {"images": images})

""",
    "torch": """\
network = torch.export.load("$file").module()
with torch.inference_mode():
    $names = (one.numpy() for one in network(torch.tensor(images)))

""",
}


def describe_model(
    module: TaskModule,
    dense: Any,
    outputs: Sequence[Tensor],
    settings: ExportSettings,
    path: Path,
) -> dict[str, Any]:
    """What must be known to run the exported file, and where it comes from.

    Args:
        module: the module that the checkpoint holds.
        dense: what is exported of it.
        outputs: what that puts out.
        settings: the settings of this export.
        path: the exported file, in the folder of this run.
    """
    size = settings.data.image_size
    normalisation = module.network.normalisation
    trained = _training_of(settings)
    packages = ("torch", "torchvision", "timm", *(ONNX if settings.format == "onnx" else ()))
    return {
        "file": path.name,
        "format": settings.format,
        "task": exporting.TASK,
        "classes": module.classes,
        "input": {
            "name": "images",
            "dtype": "uint8",
            "shape": ["batch", 3, size, size],
            "colours": "RGB, 0 to 255",
        },
        "preprocessing": {
            "resize": exporting.RESIZE,
            "size": [size, size],
            "interpolation": "bilinear",
            "antialias": True,
            "mean": _rounded(normalisation.mean),
            "std": _rounded(normalisation.std),
            "normalisation": "part of the model: (images / 255 - mean) / std",
        },
        "outputs": {
            output: {"dtype": "float32", "shape": ["batch", *one.shape[1:]], "meaning": meaning}
            for (output, meaning), one in zip(exporting.OUTPUTS.items(), outputs, strict=True)
        },
        "postprocessing": exporting.postprocessing(module, dense),
        "checkpoint": str(settings.checkpoint),
        "trained_in": trained.id if trained else None,
        "exported_in": path.parent.name,
        "versions": {name: version(name) for name in packages},
    }


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) for value in (values.flatten() / 255).tolist()]


def _training_of(settings: ExportSettings) -> Run | None:
    """The run that left the checkpoint, if it still lies in its folder."""
    run = Run(settings.checkpoint.absolute().parent.parent)
    return run if run.settings_file.is_file() else None


def write_card(
    about: Mapping[str, Any],
    module: TaskModule,
    datasets: Datasets,
    settings: ExportSettings,
    run: Run,
) -> None:
    """Write ``MODEL_CARD.md``.

    Args:
        about: what ``model.json`` says.
        module: the module that the checkpoint holds.
        datasets: the data that it was trained on.
        settings: the settings of this export.
        run: where to write.
    """
    splits = {"training": datasets.train, "validation": datasets.val, "test": datasets.test}
    outputs = [
        f"- `{name}`: {one['dtype']} [{', '.join(map(str, one['shape']))}], {one['meaning']}"
        for name, one in about["outputs"].items()
    ]
    steps = about["postprocessing"]["steps"]
    rules = [f"- `{name}`: {value}" for name, value in about["postprocessing"].items()][1:]
    text = _CARD.substitute(
        task=about["task"],
        file=about["file"],
        size=settings.data.image_size,
        classes=", ".join(module.classes),
        resize=about["preprocessing"]["resize"],
        mean=about["preprocessing"]["mean"],
        std=about["preprocessing"]["std"],
        outputs="\n".join(outputs),
        steps="\n\n".join([steps, "\n".join(rules)] if rules else [steps]),
        snippet=_snippet(about),
        data=settings.data.name,
        root=settings.data.root.name,
        counts=", ".join(f"{len(split)} images for {name}" for name, split in splits.items()),
        metrics=_metrics(_training_of(settings)),
        training=_training(module.settings),
        images=about["agreement"]["images"],
        difference=f"{about['agreement']['max_difference']:.1e}",
        weights=_weights(module.settings),
    )
    write_text(run.folder / "MODEL_CARD.md", text)


def _snippet(about: Mapping[str, Any]) -> str:
    names = ", ".join(about["outputs"])
    return Template(_SNIPPET + _RUNNING[about["format"]] + exporting.USE).substitute(
        package="onnxruntime" if about["format"] == "onnx" else "torch",
        fit=exporting.FIT.format(size=tuple(about["preprocessing"]["size"])),
        file=about["file"],
        names=names if len(about["outputs"]) > 1 else f"({names},)",
    )


def _metrics(trained: Run | None) -> str:
    if trained is None or not trained.results.is_file():
        return "Unknown: the run that left the checkpoint is not beside it."
    measured = json.loads(trained.results.read_text(encoding="utf-8"))
    rows = [("metric", "value"), ("---", "---")]
    for name, value in measured.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}: {label}", _number(one)) for label, one in value.items()]
        else:
            rows.append((name, _number(value)))
    return "\n".join(f"| {name} | {value} |" for name, value in rows)


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)


def _training(settings: Settings) -> str:
    ema = f"averaged weights (EMA, decay {settings.ema.decay})"
    facts: Sequence[str] = [
        *(f"{name} {value}" for name, value in settings.model.model_dump(mode="json").items()),
        f"image size {settings.data.image_size}",
        f"{settings.optimizer.name}, learning rate {settings.optimizer.lr}",
        f"{settings.trainer.max_epochs} epochs in batches of {settings.loader.batch_size}",
        ema if settings.ema.enabled else "no averaged weights",
        f"seed {settings.seed}",
    ]
    return "; ".join(facts) + "."


def _weights(settings: Settings) -> str:
    name = settings.model.backbone
    if not settings.model.pretrained:
        return f"`{name}` was trained from scratch: nobody else's weights are part of it."
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.has_weights:
        return f"`{name}` began with weights that timm knows nothing of: see their own page."
    source = f"https://huggingface.co/{known.hf_hub_id}" if known.hf_hub_id else known.url
    terms = known.license or "not stated there"
    return f"`{name}` began with the weights of {source}, whose terms are: {terms}."
