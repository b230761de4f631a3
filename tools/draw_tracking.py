"""Draw what a training run has recorded for Weights & Biases: the pictures in a project's ``docs/tracking.md``.

In a project with W&B, once for each task; FOLDER is ``docs/pictures/<task>`` of the template:

    WANDB_MODE=offline uv run train tracking.watch=all tracking.watch_every_n_steps=20 trainer.max_epochs=10
    uv run python TEMPLATE/tools/draw_tracking.py runs/RUN_ID FOLDER
"""

import re
import runpy
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

WIDTH, DPI = 900, 100  # pixels of a picture, which the page shows at its real size
IMAGE, LINE, LETTER, EDGE = 96, 24, 6.5, 8  # pixels: height of an image and of a line, width of a letter, margin
PREDICTIONS = {"id": 210, "image": 115, "target": 165, "prediction": 165, "confidence": 85, "loss": 65, "correct": 60}
STYLE = {"font.size": 8, "axes.titlesize": 8, "axes.titlelocation": "left", "legend.frameon": False, "figure.dpi": DPI}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "legend.fontsize": 7}

Rows = Sequence[Mapping[str, Any]]


def new_figure(height: float) -> Any:
    """Return a figure of this height in pixels."""
    return plt.figure(figsize=(WIDTH / DPI, height / DPI))


def write(figure: Any, text: str, left: float, middle: float, **style: Any) -> None:
    """Write at pixels from the left and from the top."""
    figure.text(left / WIDTH, 1 - middle / figure.bbox.height, text, va="center", **style)


def draw_epochs(folder: Path) -> Any:
    """Return a figure of predictions in three epochs, of at most four images that are legible beside each other."""
    paths = sorted(folder.glob("epoch_*.png"))
    chosen = [paths[index] for index in np.linspace(0, len(paths) - 1, 3).astype(int)]
    rows = []
    for sheet in map(Image.open, chosen):  # of four rows and columns: the diagonal has images of several classes
        width, height = (sheet.width - EDGE) // 4, (sheet.height - EDGE) // 4
        places = [(EDGE + width * index, EDGE + height * index) for index in range(4)][-(1200 // width) :]
        tiles = [sheet.crop((left, top, left + width, top + height)) for left, top in places]
        row = Image.fromarray(np.hstack([np.asarray(tile) for tile in tiles]))
        row.thumbnail((WIDTH - 2 * EDGE, row.height))
        rows.append(row)
    figure = new_figure(sum(row.height + LINE for row in rows))
    top = 0
    for path, row in zip(chosen, rows, strict=True):
        write(figure, f"val/epochs: epoch {int(path.stem[6:])}", EDGE, top + LINE / 2)
        top += LINE + row.height
        figure.figimage(row, EDGE, figure.bbox.height - top)
    return figure


def draw_charts(rows: Rows, figures: Mapping[str, Path]) -> Any:
    """Return a figure of metrics over epochs and steps, and of the figures of the test by their names."""
    figure = new_figure(560)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    *metrics, left, right = figure.subplots(2, 3).flat
    for axes, x, *names in (
        (metrics[0], "epoch", "train/loss_epoch", "val/loss"),
        (metrics[1], "epoch", "val/accuracy", "val/mAP", "val/mIoU"),
        (metrics[2], "trainer/global_step", "train/lr"),
        (metrics[3], "trainer/global_step", "train/grad_norm"),
    ):
        for name in names:
            points = [(row[x], row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=name)
        axes.set(title=", ".join(line.get_label() for line in axes.lines), xlabel=x)
        if len(axes.lines) > 1:
            axes.legend()
    for axes, (name, path) in zip((left, right), figures.items(), strict=True):
        axes.imshow(Image.open(path))
        axes.set_title(name)
        axes.axis("off")
    return figure


def logged_image(value: Mapping[str, Any], files: Mapping[str, str]) -> Image.Image:
    """Return an image with its boxes, those of the target in white, or with its predicted mask."""
    image = Image.open(files[value["path"]]).convert("RGB")
    image = image.resize((round(IMAGE * image.width / image.height), IMAGE), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(image)
    for key, color in (("target", "white"), ("prediction", "#ff3db0")):
        for box in (value.get("boxes") or {}).get(key, []):
            left, top, right, bottom = (box["position"][side] for side in ("minX", "minY", "maxX", "maxY"))
            corners = left * image.width, top * IMAGE, right * image.width - 1, bottom * IMAGE - 1
            pen.rectangle(corners, outline=color, width=2)
    mask = (value.get("masks") or {}).get("prediction")
    if mask:
        ids, pixels = np.asarray(Image.open(files[mask["path"]]).resize(image.size, 0)), np.array(image)
        colors = (np.array(plt.get_cmap("tab10").colors) * 255).astype(np.uint8)
        pixels[ids > 0] = colors[ids[ids > 0] % 10] // 2 + pixels[ids > 0] // 2
        return Image.fromarray(pixels)
    return image


def draw_table(figure: Any, title: str, rows: Rows, widths: Mapping[str, int], top: int, files: Any) -> int:
    """Draw a table at ``top`` pixels; return where it ends."""
    write(figure, title, EDGE, top + LINE / 2, fontsize=9)
    top += LINE
    for number, row in enumerate([dict(zip(widths, widths, strict=True)), *rows]):
        bottom, left = top + (IMAGE + EDGE if number and "image" in widths else LINE), EDGE
        for name, width in widths.items():
            value = row[name]
            if isinstance(value, dict):
                figure.figimage(logged_image(value, files), left, figure.bbox.height - bottom + EDGE / 2)
            else:
                text = textwrap.fill(f"{value:.3f}" if isinstance(value, float) else str(value), int(width / LETTER))
                write(figure, text, left, (top + bottom) / 2, color="black" if number else "#666")
            left += width
        line = [1 - bottom / figure.bbox.height] * 2
        figure.add_artist(plt.Line2D([EDGE / WIDTH, left / WIDTH], line, color="#ccc", lw=0.8))
        top = bottom
    return top + LINE // 2


def draw_tables(rows: Rows, predictions: Rows, by_class: Rows, files: Mapping[str, str]) -> Any:
    """Return a figure of four rows of the predictions, of the scores of the classes, and of histograms."""
    by_loss = sorted(predictions, key=lambda row: -row["loss"])
    chosen = [by_loss[index] for index in (0, 1, len(by_loss) // 8, len(by_loss) // 4)]
    figure = new_figure(4 * (IMAGE + EDGE) + (len(by_class) + 5) * LINE + 250)
    top = draw_table(figure, "test/predictions_table", chosen, PREDICTIONS, 0, files)
    top = draw_table(figure, "test/per_class", by_class, dict.fromkeys(by_class[0], 98), top, files)
    height = figure.bbox.height
    for index, kind in enumerate(("gradients", "parameters")):
        name = next(key[:-5] for row in rows for key in row if re.fullmatch(rf"{kind}.+\.conv1\.0\.weight\.bins", key))
        box = (60 + index * 450) / WIDTH, 40 / height, 370 / WIDTH, (height - top - 75) / height
        draw_histograms(figure.add_axes(box), name, [row for row in rows if f"{name}.values" in row])
    return figure


def draw_histograms(axes: Any, name: str, rows: Rows) -> None:
    """Draw histograms as columns of colours, in the range of 96 % of the values."""
    bins, counts = (np.array([row[f"{name}.{part}"] for row in rows]) for part in ("bins", "values"))
    middles = (bins[:, 1:] + bins[:, :-1]) / 2
    low, high = np.quantile(middles, (0.02, 0.98), weights=counts, method="inverted_cdf")
    edges, shares = np.linspace(low, high, 50), []
    for places, below in zip(bins, np.pad(counts.cumsum(axis=1), ((0, 0), (1, 0))), strict=True):
        column = np.diff(np.interp(edges, places, below))
        shares.append(column / column.max())
    steps = [row["trainer/global_step"] for row in rows]
    axes.pcolormesh([*steps, 2 * steps[-1] - steps[-2]], edges, np.transpose(shares), cmap="Blues")
    axes.set_title(name, fontsize=7)
    axes.set_xlabel("trainer/global_step")


def main(run: Path, folder: Path) -> None:
    """Draw the pictures of a run into a folder."""
    plt.rcParams |= STYLE
    reading = runpy.run_path("tests/tracking/reading.py")
    rows = [record["item"] for record in reading["records"](run, "history")]
    figures = {
        f"test/{name}": reading["media"](run, reading["logged"](run, f"test/{name}")[0]["path"])
        for name in ("confusion_matrix", "precision_recall")
    }
    predictions, by_class = (reading["table"](run, f"test/{name}") for name in ("predictions_table", "per_class"))
    entries = map(reading["entries"], reading["artifacts"](run, "run_table"))
    files = {name: path for table in entries for name, path in table.items()}
    draw_epochs(run / "predictions").savefig(folder / "epochs.webp", pil_kwargs={"quality": 75})
    draw_charts(rows, figures).savefig(folder / "charts.webp", pil_kwargs={"lossless": True})
    draw_tables(rows, predictions, by_class, files).savefig(folder / "tables.webp", pil_kwargs={"quality": 90})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
