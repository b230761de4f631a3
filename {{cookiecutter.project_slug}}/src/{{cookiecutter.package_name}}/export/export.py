"""Export a checkpoint to one file, and compare the outputs of both on images of the data set."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

# ~ if cookiecutter.task == "classification"
from ..classification import export as task_export
# ~ endif
from ..data.batches import evenly_spaced
from ..data.datamodule import Datasets
from ..data.reading_summary import number_of
# ~ if cookiecutter.task == "detection"
from ..detection import export as task_export
# ~ endif
from ..errors import UsageError
from ..inference.load_model import load_module, matching_datasets
from ..run.atomic_files import replacing, write_json, write_text
from ..run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from ..segmentation import export as task_export
# ~ else
from ..training.checkpoint import read_checkpoint
# ~ endif
from .card import describe_model, model_card
from .onnx_model import DYNAMIC_SHAPES, OnnxNetwork, write_onnx
from .settings import ExportSettings

TOLERANCE = 1e-4  # largest absolute difference of outputs
MAX_IMAGES = 32  # images on which the outputs are compared
FILE_NAMES = {"onnx": "model.onnx", "torch": "model.pt2"}


class TupleOutputs(nn.Module):
    """A network in contiguous memory format whose outputs are always a tuple."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the float32 outputs for uint8 images [B, C, H, W]."""
        outputs = self.network(images)
        return outputs if isinstance(outputs, tuple) else (outputs,)


def run_export(settings: ExportSettings, run: Run) -> None:
    """Export a checkpoint, and describe the file in ``model.json`` and ``MODEL_CARD.md``.

    Raises:
        UsageError: if the network cannot be exported, if there are no images to compare the file
            and the checkpoint on, or if their outputs differ by more than 1e-4.
    """
    uncompiled = settings.model.model_copy(update={"compile": False})
    module = load_module(settings.checkpoint, settings.model_copy(update={"model": uncompiled}))
    # The exported network takes images of data.image_size, also if it is overridden.
    module.settings = module.settings.model_copy(update={"data": settings.data})
    network = task_export.exported_network(module)
    graph = TupleOutputs(network).eval()
    try:
        datasets = matching_datasets(settings, module.classes, settings.checkpoint)
    except UsageError as error:
        raise UsageError(
            f"{error}\n\nThe exported file is compared with the checkpoint on images of the data "
            "that it was trained on.\nName their folder: data.root=<folder>"
        ) from error
    images = _test_images(datasets)
    with torch.inference_mode():
        outputs = graph(images[:1])
    path = run.folder / FILE_NAMES[settings.format]
    description = {
        "file": path.name,
        **describe_model(module, datasets, outputs, settings),
        "postprocessing": task_export.postprocessing(module, network),
        "exported_in": run.id,
    }
    stored = module.settings.model_copy(update={"tracking": None}).model_dump(mode="json")
    # ~ if cookiecutter.task != "segmentation"
    # `postprocessing` has the threshold of the export, which `predict` uses.
    trained = read_checkpoint(settings.checkpoint)["settings"]["model"]
    stored["model"]["score_threshold"] = trained.get("score_threshold", 0.5)
    # ~ endif
    console = Console(soft_wrap=True, markup=False)
    with replacing(path) as hidden:
        with console.status(f"Exporting {settings.checkpoint}"):
            write_graph(graph, settings, hidden, {**description, "settings": stored})
        difference = _max_difference(graph, _open(hidden, settings.format), images)
        compared = number_of(len(images), "images")
        if not difference <= TOLERANCE:  # also if it is NaN
            raise UsageError(
                f"{path.name} is not kept: it differs from the checkpoint by {difference:.1e} on "
                f"{compared}, by more than {TOLERANCE:.0e}.\n{_remedy(settings)}"
            )
    description["agreement"] = {"images": len(images), "max_difference": difference}
    write_json(run.folder / "model.json", description)
    write_text(run.folder / "MODEL_CARD.md", model_card(description))
    console.print(f"{path.name} agrees with the checkpoint to {difference:.1e} on {compared}.")
    for written in (path, run.folder / "model.json", run.folder / "MODEL_CARD.md"):
        console.print(f"  {written}")


def _test_images(datasets: Datasets) -> Tensor:
    """Return up to ``MAX_IMAGES`` evenly spaced test images as a uint8 tensor [N, C, H, W]."""
    images = [sample.image for sample in evenly_spaced(datasets.test, MAX_IMAGES)]
    if not images:
        raise UsageError(
            "No image of the test split can be read, so there is nothing to compare the exported "
            "file on.\nName other data: data.root=<folder>"
        )
    return torch.stack(images)


def write_graph(
    graph: TupleOutputs, settings: ExportSettings, path: Path, metadata: Mapping[str, object]
) -> None:
    """Trace a network and write it in the format of ``settings.format``, ONNX with its metadata."""
    # Two images, since PyTorch would fix a batch of size 1.
    shape = (2, settings.data.channels, *settings.data.input_size)
    example = torch.zeros(shape, dtype=torch.uint8)
    try:
        with torch.no_grad(), _silence():
            program = torch.export.export(graph, (example,), dynamic_shapes=DYNAMIC_SHAPES)
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # it holds paths of this machine
            if settings.format == "onnx":
                write_onnx(program, path, metadata)
            else:
                torch.export.save(program, path)
    except Exception as error:  # PyTorch raises many kinds if it cannot trace or convert a network
        raise UsageError(
            f"model.backbone={settings.model.backbone} cannot be exported with "
            f"format={settings.format}: {f'{type(error).__name__}: {error}'.splitlines()[0]}\n"
            f"{_remedy(settings)}"
        ) from error


def _remedy(settings: ExportSettings) -> str:
    other = "torch" if settings.format == "onnx" else "onnx"
    return f"Try format={other}, or another model.backbone."


@contextmanager
def _silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # PyTorch logs an error before it raises it
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _open(path: Path, file_format: str) -> Callable[[Tensor], Sequence[Tensor]]:
    return OnnxNetwork(path).outputs if file_format == "onnx" else torch.export.load(path).module()


def _max_difference(
    graph: TupleOutputs, exported: Callable[[Tensor], Sequence[Tensor]], images: Tensor
) -> float:
    """Return the largest absolute difference of the outputs, in batches of different sizes."""
    batches = [batch for batch in images.tensor_split([1, 3, 8, 16]) if len(batch)]
    with torch.inference_mode():
        differences = [
            (expected - output).abs().max()
            for batch in track(batches, description="Comparing", transient=True)
            for expected, output in zip(graph(batch), exported(batch), strict=True)
        ]
    return float(torch.stack(differences).max())
