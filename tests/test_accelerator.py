"""PyTorch's wheels without CUDA, from an index that stands in for PyTorch's own."""

import threading
import tomllib
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import Bake

pytestmark = pytest.mark.slow

THERE = "https://download.pytorch.org/whl/cpu"
WHEELS = {"torch": "2.99.0+cpu", "torchcodec": "0.99.0+cpu", "torchvision": "0.99.0+cpu"}


def write_index(folder: Path) -> None:
    """Wheels that hold nothing but their names, listed as an index lists them."""
    for name, version in WHEELS.items():
        place = folder / "whl" / "cpu" / name
        place.mkdir(parents=True)
        wheel = place / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            about = f"{name}-{version}.dist-info"
            archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{about}/RECORD", "")
        (place / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>', encoding="utf-8")


class Handler(SimpleHTTPRequestHandler):
    asked: ClassVar[set[str]] = set()

    def log_message(self, *_: object) -> None:
        Handler.asked.add(self.path.split("/")[3])


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    write_index(tmp_path)
    Handler.asked = set()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/whl/cpu"
        server.shutdown()


@pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])
def test_torch_alone_comes_from_there_and_brings_no_cuda(bake: Bake, index: str, task: str) -> None:
    project = bake(fresh=True, accelerator="cpu", task=task)
    path = project.folder / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    assert THERE in text
    path.write_text(text.replace(THERE, index), encoding="utf-8")
    done = project.run("uv", "lock", NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    assert done.returncode == 0, done.stderr
    packages = tomllib.loads(project.text("uv.lock"))["package"]
    there = {one["name"]: one["version"] for one in packages if one["source"].get("registry") == index}
    assert there == WHEELS
    assert Handler.asked == {*WHEELS}
    assert not [one["name"] for one in packages if one["name"].startswith(("nvidia", "cuda", "triton"))]
    # The wheels for macOS have no CUDA anyway.
    both = [one for one in packages if one["name"] == "torch"]
    assert {one["source"]["registry"] == index for one in both} == {True, False}
