"""Export a checkpoint to one file, which is kept only if it agrees with the checkpoint."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from ..data.datamodule import Datasets
from ..data.images import Unreadable
from ..errors import UsageError
from ..run.files import write_json
from ..run.folder import Run
from ..task import exporting
from ..training.checkpoint import load_module, matching_datasets
from .card import describe_model, write_card
from .onnx_network import add_metadata, open_session, run_session, write_onnx
from .settings import ExportSettings

MOST_DIFFERENCE = 1e-4
MOST_IMAGES = 32
FILES = {"onnx": "model.onnx", "torch": "model.pt2"}
DYNAMIC = {"images": {0: torch.export.Dim("batch", min=1)}}


class Graph(nn.Module):
    """The network that is exported; whatever it puts out comes as a tuple."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run on uint8 images [B, 3, S, S]."""
        outputs = self.network(images)
        return outputs if isinstance(outputs, tuple) else (outputs,)


def run_export(settings: ExportSettings, run: Run) -> Path:
    """Export the checkpoint; describe it in ``model.json`` and ``MODEL_CARD.md``.

    Returns:
        The exported file.

    Raises:
        UsageError: if the model cannot be exported, the data to compare it on are not there, or it
            differs from the checkpoint by more than 1e-4; then no file is kept.
    """
    plain = settings.model.model_copy(update={"compile": False})
    module = load_module(settings.checkpoint, settings.model_copy(update={"model": plain}))
    graph = Graph(exporting.dense_network(module)).eval()
    datasets = _datasets(settings, module.classes)
    images = _real_images(datasets)
    path = run.folder / FILES[settings.format]
    hidden = path.with_name(f".{path.name}")
    console = Console()
    try:
        with console.status(f"Exporting {settings.checkpoint}"):
            _write(graph, settings, hidden)
        difference = _difference(graph, _opened(hidden, settings.format), images)
        if not difference <= MOST_DIFFERENCE:  # nor if it is not a number
            raise UsageError(
                f"{path.name} differs from the checkpoint by {difference:.1e} on {len(images)} "
                f"images, by more than {MOST_DIFFERENCE:.0e}: it is not kept.\n"
                "Another format or backbone may do: format=torch, or format=onnx."
            )
        with torch.inference_mode():
            outputs = graph(images[:1])
        about = describe_model(module, graph.network, outputs, settings, path)
        about["agreement"] = {"images": len(images), "max_difference": difference}
        if settings.format == "onnx":
            add_metadata(hidden, about, module.settings)
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
    write_json(run.folder / "model.json", about)
    write_card(about, module, datasets, settings, run)
    console.print(f"It agrees with the checkpoint to {difference:.1e} on {len(images)} images.")
    for written in (path, run.folder / "model.json", run.folder / "MODEL_CARD.md"):
        console.print(f"  {written}", soft_wrap=True, markup=False)
    return path


def _datasets(settings: ExportSettings, classes: Sequence[str]) -> Datasets:
    try:
        return matching_datasets(settings, classes)
    except UsageError as error:
        raise UsageError(
            f"{error}\n\nBefore it is kept, what is exported is compared with the checkpoint on "
            "images of its own data.\nSay where they are now: data.root=<folder>"
        ) from error


def _real_images(datasets: Datasets) -> Tensor:
    """Up to 32 images, uint8 tensor [N, 3, S, S], from all over the test split."""
    dataset = datasets.test if len(datasets.test) else datasets.val
    count = min(MOST_IMAGES, len(dataset))
    samples = (dataset[index] for index in torch.linspace(0, len(dataset) - 1, count).long())
    images = [sample.image for sample in samples if not isinstance(sample, Unreadable)]
    if not images:
        raise UsageError("None of the images to compare the exported model on can be read.")
    return torch.stack(images)


def _write(graph: Graph, settings: ExportSettings, path: Path) -> None:
    size = settings.data.image_size
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)  # with one, it would be always one
    try:
        with torch.no_grad(), _quietly():
            program = torch.export.export(graph, (example,), dynamic_shapes=DYNAMIC)
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # it names this machine's folders
            if settings.format == "onnx":
                write_onnx(program, path, outputs=list(exporting.OUTPUTS), dynamic=DYNAMIC)
            else:
                torch.export.save(program, path)
    except Exception as error:  # PyTorch raises many kinds for what it cannot trace or translate
        raise UsageError(
            f"model.backbone={settings.model.backbone} cannot be exported with "
            f"format={settings.format}: {type(error).__name__}: {str(error).splitlines()[0]}\n"
            "Another format or backbone may do: format=torch, or format=onnx."
        ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # what matters is raised as well
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _opened(path: Path, kind: str) -> Callable[[Tensor], Sequence[Tensor]]:
    if kind == "torch":
        return torch.export.load(path).module()
    session = open_session(path)
    return lambda images: run_session(session, images)


def _difference(
    graph: Graph, exported: Callable[[Tensor], Sequence[Tensor]], images: Tensor
) -> float:
    found = []
    with torch.inference_mode():
        for batch in track(list(_batches(images)), description="Comparing", transient=True):
            for ours, theirs in zip(graph(batch), exported(batch), strict=True):
                found.append((ours - theirs).abs().max())
    return float(torch.stack(found).max())


def _batches(images: Tensor) -> Iterator[Tensor]:
    """Batches of 1, 2, 4 and so on: the batch is to be free."""
    size = 1
    while len(images):
        yield images[:size]
        images, size = images[size:], 2 * size
