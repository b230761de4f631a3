from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from {{ cookiecutter.package_name }} import cli

from small import SHAPES, SMALL, run_command, write_own_data


@pytest.fixture(autouse=True)
def blank_figures(request, monkeypatch):
    """Write blank pictures in place of figures, unless the test is marked with ``figures``.

    Drawing them with Matplotlib takes most of the time of a small training run.
    """

    def save(figure, file, dpi):
        size = [round(inches * dpi) for inches in figure.get_size_inches()]
        Image.new("RGB", size, "white").save(file, format="PNG")

    if request.node.get_closest_marker("figures") is None:
        monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty current folder, without a run id in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(cli.RUN_ID, raising=False)
    monkeypatch.delenv(cli.RUN_SETTINGS, raising=False)
    return tmp_path


@pytest.fixture
def command(workplace, monkeypatch) -> Callable[..., Path]:
    """Run a command with overrides; returns its run folder."""

    return partial(run_command, monkeypatch)


@pytest.fixture
def train(command) -> Callable[..., Path]:
    """A training run of seconds, on shapes unless other data are named."""

    def run(*overrides):
        shapes = () if any(word.startswith("data=") for word in overrides) else SHAPES
        return command("train", *SMALL, *shapes, *overrides)

    return run


@pytest.fixture
def own_data(tmp_path) -> Path:
    """A folder of data as a user might have them."""
    root = tmp_path / "photos"
    write_own_data(root)
    return root
