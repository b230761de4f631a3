import io
import json
import os
import re
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
from PIL import Image

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification import export as task_export
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.data.resize import model_input
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection import export as task_export
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
from {{ cookiecutter.package_name }}.export import card as card_module
# ~ endif
from {{ cookiecutter.package_name }}.export import export
from {{ cookiecutter.package_name }}.export.card import metrics_of_test, model_card
from {{ cookiecutter.package_name }}.inference.load_model import load_module
from {{ cookiecutter.package_name }}.run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation import export as task_export
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.training.checkpoint import read_checkpoint

from small import OWN, SHAPES, SMALL, TRAINED_LONGER, agrees_with_row, run_command

FORMATS = {"onnx": "model.onnx", "torch": "model.pt2"}
CHECKPOINT = "runs/training/checkpoints/best.ckpt"
ONNX_FILE = "runs/onnx/model.onnx"
PLAIN = ("tracking=none", "trainer=cpu")


def load_tracked(*words):
    """Load a module whose settings name a tracker."""
    module = load_module(*words)
    module.settings = module.settings.model_copy(update={"tracking": module.settings.ema})
    return module


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with a training run and its two exports, made once."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shape = ("data.image_size=[32,64]", "data.fit=letterbox")  # of neither shape is a photo
        words = (*SMALL, *SHAPES, *TRAINED_LONGER, "data.test_images=40", "ema.decay=0.9", *shape)
        run_command(patch, "train", *words).rename("runs/training")
        patch.setattr(export, "load_module", load_tracked)
        output = io.StringIO()
        for name in FORMATS:
            with redirect_stdout(output), redirect_stderr(output):
                run_command(patch, "export", f"checkpoint={CHECKPOINT}", f"format={name}").rename(
                    f"runs/{name}"
                )
        Path("output.txt").write_text(output.getvalue())
    return folder


@pytest.fixture(autouse=True)
def folder(exported, command, monkeypatch):
    """The folder of the exports as the current one; tests may write further runs into it."""
    monkeypatch.chdir(exported)
    return exported


@pytest.fixture
def refusal(command):
    """Run a command that must fail; returns its message."""

    def run(*words):
        with pytest.raises(SystemExit) as stopped:
            command(*words)
        return str(stopped.value.code)

    return run


def description(name):
    return json.loads(Path("runs", name, "model.json").read_text())


def card(name):
    return Path("runs", name, "MODEL_CARD.md").read_text()


def difference(module, name):
    """The largest difference between a module and its export, on 32 images in uneven batches."""
    test = build_datasets(module.settings.data).test
    images = torch.stack([test[index].image for index in range(32)])
    graph = export.TupleOutputs(task_export.exported_network(module)).eval()
    if name == "torch":
        run = torch.export.load(f"runs/{name}/model.pt2").module()
    else:
        session = onnxruntime.InferenceSession(ONNX_FILE)

        def run(batch):
            return map(torch.from_numpy, session.run(None, {"images": batch.numpy()}))

    with torch.inference_mode():
        pairs = [
            pair
            for batch in images.split([1, 7, 24])
            for pair in zip(graph(batch), run(batch), strict=True)
        ]
    return max(float((ours - theirs).abs().max()) for ours, theirs in pairs)


def test_an_export_writes_three_files_and_names_them():
    lines = Path("output.txt").read_text().splitlines()
    expected = []
    for name, file in FORMATS.items():
        written = {path.name for path in Path("runs", name).iterdir() if path.is_file()}
        assert written == {file, "model.json", "MODEL_CARD.md", "config.yaml", "environment.json"}
        expected += [f"{file} agrees with the checkpoint to ... on 32 images."]
        expected += [f"  .../{written}" for written in (file, "model.json", "MODEL_CARD.md")]
    shown = [re.sub(r"runs/[^/]+|\d\.\de[+-]\d\d", "...", line) for line in lines if line.strip()]
    assert shown == expected


def test_an_export_may_have_another_image_size_than_the_training(command):
    run = command("export", f"checkpoint={CHECKPOINT}", "data.image_size=64")
    (images,) = onnxruntime.InferenceSession(run / "model.onnx").get_inputs()
    assert images.shape == ["batch", 3, 64, 64]


@pytest.mark.parametrize("name", FORMATS)
def test_the_averaged_weights_are_exported_for_batches_of_any_size(name):
    module = load_module(Path(CHECKPOINT))
    assert difference(module, name) <= 1e-4
    assert description(name)["agreement"]["images"] == 32
    assert description(name)["agreement"]["max_difference"] <= 1e-4
    module.load_state_dict(read_checkpoint(Path(CHECKPOINT))["trained_weights"]["weights"])
    assert difference(module, name) > 1e-3


def test_an_onnx_file_holds_its_description_and_the_settings_of_the_training_but_no_tracker():
    properties = onnx.load(ONNX_FILE).metadata_props
    content = {entry.key: json.loads(entry.value) for entry in properties}
    settings = content.pop("settings")
    assert {**content, "agreement": description("onnx")["agreement"]} == description("onnx")
    assert settings["model"]["backbone"] == "test_resnet"
    assert settings["tracking"] is None
    session = onnxruntime.InferenceSession(ONNX_FILE)
    (images,) = session.get_inputs()
    assert (images.name, images.type) == ("images", "tensor(uint8)")
    assert images.shape == content["input"]["shape"] == ["batch", 3, 32, 64]
    outputs = {output.name: output.shape for output in session.get_outputs()}
    assert outputs == {name: output["shape"] for name, output in content["outputs"].items()}


def test_the_description_tells_classes_and_normalisation():
    module, content = load_module(Path(CHECKPOINT)), description("onnx")
    assert content["classes"] == module.classes
    assert content["trained_in"] == "training"
    mean, std = (torch.tensor(content["preprocessing"][name]) for name in ("mean", "std"))
    images = torch.randint(0, 255, (1, 3, 4, 4), dtype=torch.uint8)
    expected = (images / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(module.network.normalisation(images), expected)


def test_the_files_name_no_folder_of_this_machine(folder):
    with zipfile.ZipFile("runs/torch/model.pt2") as file:
        contents = [file.read(name) for name in file.namelist()]
    contents.append(Path(ONNX_FILE).read_bytes())
    for path in (folder, sys.prefix, Path(__file__).parent):
        assert not any(os.fsencode(path) in content for content in contents)


@pytest.mark.parametrize("name", FORMATS)
def test_the_code_of_the_model_card_prints_the_predictions_of_predict(name, command):
    photo = Path("runs", name, "photo.jpg")
    with Image.open(max(Path("data").rglob("test/**/*.png"), key=str)) as image:
        image.convert("RGB").resize((90, 70)).save(photo, quality=95)
    (code,) = re.findall(r"```python\n(.*?)```", card(name), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=photo.parent, capture_output=True, text=True, check=True
    )
    result = command("predict", f"checkpoint={CHECKPOINT}", f"source={photo}", *PLAIN)
    photo.unlink()
    (row,) = json.loads((result / "predictions.json").read_text())
    # ~ if cookiecutter.task == "detection"
    numbers = [re.findall(r"[\d.]+", line.split("[")[1]) for line in done.stdout.splitlines()]
    boxes = [entry["bbox"] for entry in json.loads((result / "coco_results.json").read_text())]
    expected = np.array([[x, y, x + width, y + height] for x, y, width, height in boxes])
    differences = np.array(numbers, dtype=float)[:, None] - expected
    assert np.abs(differences).max(axis=2).min(axis=1).max() < 1  # pixels
    # ~ endif
    assert agrees_with_row(done.stdout, row), (done.stdout, row)


@pytest.mark.parametrize("fit", ["letterbox", "stretch", "crop"])
@pytest.mark.parametrize("size", [(64, 80), (90, 47)])
def test_the_model_card_fits_images_as_the_project_does(fit, size):
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    described = description("onnx")
    described["preprocessing"]["fit"] = fit
    code = re.search(r"image = planes.*?\nimages = .*?\n", model_card(described), re.DOTALL)
    planes = Image.fromarray(pixels).split()
    names = {"planes": planes, "description": described, "Image": Image, "np": np}
    exec(code[0], names)
    data = load_module(Path(CHECKPOINT)).settings.data.model_copy(update={"fit": fit})
    expected = model_input(torch.tensor(pixels).permute(2, 0, 1), data)
    assert expected.shape == (3, 32, 64)
    assert np.abs(names["images"][0].astype(int) - expected.numpy()).max() <= 1


def test_the_model_card_tells_data_metrics_settings_and_terms():
    counts = "40 images for training, 20 for validation, 40 for testing"
    metrics = json.loads(Path("runs/training/metrics.json").read_text())
    name, value = next(iter(metrics.items()))
    for line in (
        f"`shapes` in `shapes`: {counts}.",
        f"- `{name}`: {value:.4g}",
        "- `model.backbone`: test_resnet",
        "- `ema.decay`: 0.9",
        "`test_resnet` was trained from scratch",
    ):
        assert line in card("onnx")


# ~ if cookiecutter.task == "detection"
def test_the_model_card_names_the_source_of_weights_for_coco():
    settings = load_module(Path(CHECKPOINT)).settings
    model = settings.model.model_copy(update={"pretrained": "coco"})
    sentence = card_module._terms(settings.model_copy(update={"model": model}))
    weights = "https://download.pytorch.org/models/fcos_resnet50_fpn_coco-"
    assert sentence.startswith(f"The training began with the weights for COCO of {weights}")
    assert sentence.endswith("https://github.com/pytorch/vision.")


# ~ endif
def test_metrics_of_other_weights_than_those_of_the_file_are_not_told(tmp_path):
    training = Run(Path("runs/training"))
    assert metrics_of_test(training, training.best) == json.loads(training.results.read_text())
    content = read_checkpoint(training.best)
    torch.save({**content, "global_step": content["global_step"] + 1}, tmp_path / "later.ckpt")
    assert metrics_of_test(training, tmp_path / "later.ckpt") == {}


def test_predict_and_evaluate_take_an_onnx_file_for_a_checkpoint(command):
    def results(checkpoint):
        words = (f"checkpoint={checkpoint}", *PLAIN)
        source = min(Path("data").rglob("test"), key=lambda path: len(path.parts))
        predicted = command("predict", *words, f"source={source}")
        rows = json.loads((predicted / "predictions.json").read_text())
        metrics = json.loads((command("evaluate", *words) / "metrics.json").read_text())
        return rows, {name: value for name, value in metrics.items() if "/" in name}

    # ~ if cookiecutter.task == "detection"
    def numbers(row):  # equal scores have no order
        scores = sorted((found["label"], found["score"]) for found in row["objects"])
        return [row["image"], *(label for label, _ in scores)], [score for _, score in scores]

    # ~ else
    def numbers(row):  # classes of equal probability have no order
        words = [row["image"], row.get("label")]
        return words, [value for value in row.values() if isinstance(value, float)]

    # ~ endif

    (rows, metrics), (onnx_rows, onnx_metrics) = map(results, (CHECKPOINT, ONNX_FILE))
    assert len(rows) == 40
    assert onnx_metrics == pytest.approx(metrics, abs=1e-3)
    for row, onnx_row in zip(rows, onnx_rows, strict=True):
        words, values = numbers(row)
        assert numbers(onnx_row) == (words, pytest.approx(values, abs=5e-3))


@pytest.mark.parametrize("error", [2e-4, float("nan")])
def test_a_file_that_differs_from_the_checkpoint_is_not_kept(refusal, monkeypatch, error):
    opened = export._open

    def wrong(*words):
        return lambda images: [output + error for output in opened(*words)(images)]

    monkeypatch.setattr(export, "_open", wrong)
    before = set(Path("runs").rglob("*"))
    message = refusal("export", f"checkpoint={CHECKPOINT}", "format=torch")
    assert f"differs from the checkpoint by {error:.1e} on 32 images" in message
    assert set(Path("runs").rglob("*")) == before


def test_a_compiled_model_is_exported_uncompiled(command, monkeypatch):
    content = read_checkpoint(Path(CHECKPOINT))
    content["settings"]["model"]["compile"] = True
    torch.save(content, "compiled.ckpt")
    monkeypatch.setattr(torch.nn.Module, "compile", None)  # a call would fail
    run = command("export", "checkpoint=compiled.ckpt", "format=torch")
    assert description(run.name)["trained_in"] is None
    assert "Unknown: its training run has not tested this checkpoint." in card(run.name)


def test_a_network_that_cannot_be_traced_is_refused_in_one_line(refusal, monkeypatch):
    def depends_on_values(graph, images):
        return (images,) * len(task_export.OUTPUTS) if images.max() else ()

    def fails(*_words, **_options):
        raise AssertionError

    monkeypatch.setattr(export.TupleOutputs, "forward", depends_on_values)
    message = refusal("export", f"checkpoint={CHECKPOINT}", "format=torch")
    assert "model.backbone=test_resnet cannot be exported with format=torch" in message
    monkeypatch.setattr(torch.export, "export", fails)
    message = refusal("export", f"checkpoint={CHECKPOINT}", "format=torch")
    assert "with format=torch: AssertionError: \nTry" in message


def test_without_its_data_a_checkpoint_is_not_exported(refusal, own_data):
    words = ("export", f"checkpoint={CHECKPOINT}", OWN)
    message = refusal(*words, "data.root=nowhere")
    assert "nowhere" in message
    assert "data.root=<folder>" in message
    assert "was trained on" in refusal(*words, f"data.root={own_data}")


def test_an_exported_file_is_not_exported_again(refusal):
    assert "cannot be read as a checkpoint" in refusal("export", f"checkpoint={ONNX_FILE}")


def test_missing_packages_are_named_with_the_command_to_install_them(refusal, monkeypatch):
    for package in ("onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    message = refusal("export", f"checkpoint={CHECKPOINT}")
    assert "not installed, onnxruntime, onnxscript: uv sync --extra onnx" in message
    message = refusal("predict", f"checkpoint={ONNX_FILE}", "source=a.jpg", *PLAIN)
    assert "uv sync --extra onnx" in message


def test_onnx_files_of_other_programs_are_refused(refusal, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"nothing")
    model = onnx.load(ONNX_FILE)
    onnx.helper.set_model_props(model, {"names": "{0: 'circle'}"})
    onnx.save(model, tmp_path / "b.onnx")
    for name, reason in {"a": "cannot be read", "b": "was not exported by this project"}.items():
        message = refusal("evaluate", f"checkpoint={tmp_path}/{name}.onnx", *PLAIN)
        assert f"{name}.onnx {reason}" in message
