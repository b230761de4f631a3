import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image, ImageOps

from {{ cookiecutter.package_name }}.export.export import Graph
from {{ cookiecutter.package_name }}.export.onnx_network import add_metadata, read_metadata
from {{ cookiecutter.package_name }}.task import as_seen, build_datasets, exporting
from {{ cookiecutter.package_name }}.training.checkpoint import (
    load_module,
    read_checkpoint,
)

from small import LIVELY, OWN, SHAPES, SMALL, says_the_same, use

FILES = {"onnx": "model.onnx", "torch": "model.pt2"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a training and its two exports, made once."""
    folder = tmp_path_factory.mktemp("exports")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = (*SMALL, *SHAPES, *LIVELY, "data.test_images=40", "ema.decay=0.9")
        use(patch, "train", *words).rename("runs/training")
        said = io.StringIO()
        for kind in FILES:
            checkpoint = "checkpoint=runs/training/checkpoints/best.ckpt"
            with redirect_stdout(said), redirect_stderr(said):
                use(patch, "export", checkpoint, f"format={kind}").rename(f"runs/{kind}")
        (folder / "said.txt").write_text(said.getvalue())
    return folder


@pytest.fixture
def exports(place, monkeypatch, command):
    """The folder as the current one; tests may write further runs."""
    monkeypatch.chdir(place)
    return place / "runs"


def checkpoint_of(exports):
    return exports / "training" / "checkpoints" / "best.ckpt"


def runner(exports, kind):
    path = exports / kind / FILES[kind]
    if kind == "torch":
        return torch.export.load(path).module()
    session = onnxruntime.InferenceSession(path)
    return lambda images: map(torch.from_numpy, session.run(None, {"images": images.numpy()}))


def real_images(module):
    test = build_datasets(module.settings.data).test
    return torch.stack([test[index].image for index in range(32)])


def worst(graph, exported, images):
    with torch.inference_mode():
        pairs = [(graph(batch), exported(batch)) for batch in torch.split(images, [1, 7, 24])]
    return max(
        float((ours - theirs).abs().max())
        for pair in pairs
        for ours, theirs in zip(*pair, strict=True)
    )


def whole(row):
    """A row of the table without percentages in words, which the last digit may round up."""
    words = {name: re.sub(r"\d+%", "", one) for name, one in row.items() if isinstance(one, str)}
    return {**row, **words}


@pytest.mark.parametrize("kind", FILES)
def test_an_export_is_one_file_with_its_description(exports, kind):
    written = {path.name for path in (exports / kind).iterdir() if path.is_file()}
    described = {"model.json", "MODEL_CARD.md"}
    assert written == {FILES[kind], *described, "config.yaml", "environment.json"}


def test_an_export_says_where_it_is_and_nothing_else(exports):
    lines = (exports.parent / "said.txt").read_text().split("\n")
    said = [re.sub(r"runs/\S+/|\d\.\de[+-]\d\d", "...", line) for line in lines if line.strip()]
    assert said == [
        line
        for name in FILES.values()
        for line in (
            "It agrees with the checkpoint to ... on 32 images.",
            *(f"  ...{file}" for file in (name, "model.json", "MODEL_CARD.md")),
        )
    ]


@pytest.mark.parametrize("kind", FILES)
def test_it_agrees_with_the_checkpoint_on_32_images_in_batches_of_any_size(exports, kind):
    module = load_module(checkpoint_of(exports))
    graph = Graph(exporting.dense_network(module)).eval()
    assert worst(graph, runner(exports, kind), real_images(module)) <= 1e-4
    told = json.loads((exports / kind / "model.json").read_text())["agreement"]
    assert told["images"] == 32
    assert told["max_difference"] <= 1e-4


@pytest.mark.parametrize("kind", FILES)
def test_the_averaged_weights_are_what_is_exported(exports, kind):
    module = load_module(checkpoint_of(exports))
    module.load_state_dict(read_checkpoint(checkpoint_of(exports))["trained_weights"]["weights"])
    graph = Graph(exporting.dense_network(module)).eval()
    assert worst(graph, runner(exports, kind), real_images(module)) > 1e-3


def test_the_file_says_of_itself_what_lies_beside_it(exports):
    model = onnx.load(exports / "onnx" / "model.onnx")
    own = {one.key: json.loads(one.value) for one in model.metadata_props}
    settings = own.pop("settings")
    assert settings["model"]["backbone"] == "test_resnet"
    assert settings["tracking"] is None
    assert own == json.loads((exports / "onnx" / "model.json").read_text())
    assert own["classes"] == load_module(checkpoint_of(exports)).classes
    assert own["input"]["shape"] == ["batch", 3, 32, 32]
    network = load_module(checkpoint_of(exports)).network
    mean, std = (torch.tensor(own["preprocessing"][name]) for name in ("mean", "std"))
    images = torch.randint(0, 255, (1, 3, 4, 4), dtype=torch.uint8)
    by_hand = (images / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(network.normalisation(images), by_hand)
    session = onnxruntime.InferenceSession(exports / "onnx" / "model.onnx")
    (images,) = session.get_inputs()
    assert (images.name, images.type, images.shape) == (
        "images",
        "tensor(uint8)",
        own["input"]["shape"],
    )
    assert {one.name: one.shape for one in session.get_outputs()} == {
        name: one["shape"] for name, one in own["outputs"].items()
    }


def test_no_folder_of_this_machine_is_in_the_files(exports):
    here = [os.fsencode(name) for name in (exports.parent, sys.prefix, Path(__file__).parent)]
    with zipfile.ZipFile(exports / "torch" / "model.pt2") as file:
        contents = [file.read(name) for name in file.namelist()]
    contents.append((exports / "onnx" / "model.onnx").read_bytes())
    assert not any(folder in content for folder in here for content in contents)


@pytest.mark.parametrize("kind", FILES)
def test_the_model_cards_lines_run_and_say_what_predict_says(exports, command, kind, tmp_path):
    photo = exports / kind / "photo.jpg"
    source = max((exports.parent / "data").rglob("test/**/*.png"), key=str)
    with Image.open(source) as image:
        image.convert("RGB").resize((90, 70)).save(photo, quality=95)
    try:
        card = (exports / kind / "MODEL_CARD.md").read_text()
        (lines,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
        done = subprocess.run(
            [sys.executable, "-c", lines],
            cwd=photo.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        chosen = (f"checkpoint={checkpoint_of(exports)}", f"source={photo}")
        result = command("predict", *chosen, "tracking=none", "trainer=cpu")
        (row,) = json.loads((result / "predictions.json").read_text())
        assert says_the_same(done.stdout, row), (done.stdout, row)
    finally:
        photo.unlink()


def test_the_model_card_prepares_images_as_the_project_does(exports):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)
    known = {"image": Image.fromarray(pixels), "Image": Image, "ImageOps": ImageOps}
    fitted = eval(exporting.FIT.format(size=(32, 32)), known)
    seen = as_seen(
        torch.tensor(pixels).permute(2, 0, 1), load_module(checkpoint_of(exports)).settings.data
    )
    difference = np.asarray(fitted).astype(int) - seen.permute(1, 2, 0).numpy()
    assert np.abs(difference).max() <= 1


def test_no_tracker_is_named_in_the_file(exports, tmp_path):
    copied = shutil.copy(exports / "onnx" / "model.onnx", tmp_path)
    settings = load_module(checkpoint_of(exports)).settings
    followed = settings.model_copy(update={"tracking": settings.ema})
    add_metadata(Path(copied), {"classes": [], "postprocessing": {}}, followed)
    assert read_metadata(Path(copied))["settings"]["tracking"] is None


def test_the_model_card_tells_data_metrics_settings_and_terms(exports):
    card = (exports / "onnx" / "MODEL_CARD.md").read_text()
    assert "`shapes` in `shapes`: 40 images for training, 20 images for validation, 40" in card
    measured = json.loads((exports / "training" / "metrics.json").read_text())
    name, value = next(iter(measured.items()))
    assert f"| {name} | {value:.4f} |" in card
    assert "backbone test_resnet; pretrained False" in card
    assert "EMA, decay 0.9" in card
    assert "trained from scratch" in card


def test_predict_and_evaluate_take_the_file_for_the_checkpoint(exports, command):
    def results(checkpoint):
        same = (f"checkpoint={checkpoint}", "tracking=none", "trainer=cpu")
        source = min((exports.parent / "data").rglob("test"), key=lambda path: len(path.parts))
        predicted = command("predict", *same, f"source={source}")
        evaluated = command("evaluate", *same)
        return (
            json.loads((predicted / "predictions.json").read_text()),
            json.loads((evaluated / "metrics.json").read_text()),
        )

    ours, theirs = (results(path) for path in (checkpoint_of(exports), exports / "onnx/model.onnx"))
    assert len(ours[0]) == 40
    for one, other in zip(ours[0], theirs[0], strict=True):
        assert whole(one) == pytest.approx(whole(other), abs=5e-3)
    for name, value in ours[1].items():
        assert theirs[1][name] == pytest.approx(value, abs=1e-3), name


@pytest.mark.parametrize("planted", [2e-4, float("nan")])
def test_a_file_that_differs_is_refused_and_not_kept(exports, command, monkeypatch, planted):
    from {{ cookiecutter.package_name }}.export import export

    opened = export._opened

    def slightly_wrong(path, kind):
        run = opened(path, kind)
        return lambda images: [one + planted for one in run(images)]

    monkeypatch.setattr(export, "_opened", slightly_wrong)
    before = set(exports.iterdir())
    with pytest.raises(SystemExit) as stopped:
        command("export", f"checkpoint={checkpoint_of(exports)}", "format=torch")
    said = str(stopped.value.code)
    assert f"differs from the checkpoint by {planted:.1e} on 32 images" in said
    (run,) = set(exports.iterdir()) - before
    assert not [path for path in run.iterdir() if "model" in path.name.lower()]


def test_a_compiled_model_is_exported_as_it_was_before(exports, command, monkeypatch):
    content = read_checkpoint(checkpoint_of(exports))
    content["settings"]["model"]["compile"] = True
    torch.save(content, "compiled.ckpt")
    monkeypatch.setattr(torch.nn.Module, "compile", None)  # nobody may call it
    run = command("export", "checkpoint=compiled.ckpt", "format=torch")
    assert json.loads((run / "model.json").read_text())["trained_in"] is None
    assert "not beside it" in (run / "MODEL_CARD.md").read_text()


def test_what_cannot_be_traced_is_told_in_one_line(exports, command, monkeypatch):
    def reads_values(network, images):
        return images.float().sum((1, 2, 3)).tolist()

    monkeypatch.setattr(Graph, "forward", reads_values)
    with pytest.raises(SystemExit) as stopped:
        command("export", f"checkpoint={checkpoint_of(exports)}", "format=torch")
    assert "model.backbone=test_resnet cannot be exported with format=torch" in str(
        stopped.value.code
    )


def test_without_the_data_to_compare_on_nothing_is_exported(exports, command):
    with pytest.raises(SystemExit) as stopped:
        command("export", f"checkpoint={checkpoint_of(exports)}", OWN, "data.root=nowhere")
    said = str(stopped.value.code)
    assert "nowhere" in said
    assert "data.root=<folder>" in said


def test_other_classes_than_the_checkpoints_are_refused(exports, command, own_data):
    with pytest.raises(SystemExit) as stopped:
        command("export", f"checkpoint={checkpoint_of(exports)}", OWN, f"data.root={own_data}")
    assert "was trained on" in str(stopped.value.code)


def test_an_exported_file_is_not_exported_again(exports, command):
    with pytest.raises(SystemExit) as stopped:
        command("export", f"checkpoint={exports}/onnx/model.onnx")
    assert "is exported already" in str(stopped.value.code)


def test_missing_packages_are_named_with_what_installs_them(exports, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SystemExit) as stopped:
        command("export", f"checkpoint={checkpoint_of(exports)}")
    assert "not installed, onnxruntime, onnxscript: uv sync --extra onnx" in str(stopped.value.code)
    with pytest.raises(SystemExit) as stopped:
        command("predict", f"checkpoint={exports}/onnx/model.onnx", "source=a.jpg", "tracking=none")
    assert "uv sync --extra onnx" in str(stopped.value.code)


def test_an_onnx_file_that_is_not_ours_is_named(exports, command, workplace):
    (workplace / "a.onnx").write_bytes(b"nothing")
    model = onnx.load(exports / "onnx" / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, workplace / "b.onnx")
    for name, said in {"a": "cannot be read", "b": "is not one of this project"}.items():
        with pytest.raises(SystemExit) as stopped:
            command("evaluate", f"checkpoint={workplace}/{name}.onnx", "tracking=none")
        assert f"{name}.onnx {said}" in str(stopped.value.code)
