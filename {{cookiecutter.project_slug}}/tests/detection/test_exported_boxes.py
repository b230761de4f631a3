from types import SimpleNamespace

import pytest
import torch
from test_detection import SIZE, build, fit, in_pixels, targets

from {{ cookiecutter.package_name }}.detection.export import (
    decode_outputs,
    exported_network,
    postprocessing,
)
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.export.export import TupleOutputs, write_graph
from {{ cookiecutter.package_name }}.export.onnx_model import OnnxNetwork


def module_of(architecture, detector):
    """The parts of a module that an export reads."""
    model = SimpleNamespace(architecture=architecture, score_threshold=0.3)
    data = SimpleNamespace(input_size=SIZE, channels=3)
    settings = SimpleNamespace(model=model, data=data, format="onnx")
    return SimpleNamespace(network=detector, settings=settings, classes=["a", "b", "c"])


@pytest.fixture(scope="module", params=["fcos", "retinanet", "ssdlite"])
def trained(request):
    """A detector that was trained on two images, and these images with a third."""
    torch.manual_seed(0)
    detector = build(request.param)
    images = torch.randint(0, 60, (3, 3, *SIZE), dtype=torch.uint8)
    objects = targets()
    for box in in_pixels(objects[0].boxes):
        images[:, :, box[1] : box[3], box[0] : box[2]] += 150
    fit(detector, images[:2], objects)
    return module_of(request.param, detector.eval()), images


def test_boxes_selected_from_the_outputs_are_those_of_torchvision(trained):
    module, images = trained
    dense = exported_network(module).eval()
    with torch.inference_mode():
        expected = module.network(images)
        selected = decode_outputs(dense(images), postprocessing(module, dense))
    for prediction, reference in zip(selected, expected, strict=True):
        assert len(prediction.scores) > 10
        assert prediction.labels.tolist() == reference.labels.tolist()
        torch.testing.assert_close(prediction.scores, reference.scores, atol=1e-6, rtol=0)
        torch.testing.assert_close(prediction.boxes, reference.boxes, atol=1e-5, rtol=0)


def test_the_rules_limit_the_boxes_of_each_level_and_in_total(trained):
    module, images = trained
    dense = exported_network(module).eval()
    rules = postprocessing(module, dense)
    with torch.inference_mode():
        outputs = dense(images)
    assert sum(rules["levels"]) == outputs[0].shape[1]

    def counts(**changes):
        predictions = decode_outputs(outputs, {**rules, **changes})
        return [len(prediction.scores) for prediction in predictions]

    assert all(0 < count <= 12 for count in counts(candidates_per_level=7, limit=12))
    assert all(count <= len(rules["levels"]) for count in counts(candidates_per_level=1))
    assert counts(score_threshold=1.0) == [0, 0, 0]


def test_each_detector_runs_as_onnx_in_batches_of_any_size(trained, tmp_path):
    module, images = trained
    graph = TupleOutputs(exported_network(module)).eval()
    write_graph(graph, module.settings, tmp_path / "a.onnx", metadata={})
    exported = OnnxNetwork(tmp_path / "a.onnx")
    for batch in (images[:1], images.repeat(3, 1, 1, 1)[:7]):
        with torch.inference_mode():
            expected = graph(batch)
        torch.testing.assert_close(tuple(exported.outputs(batch)), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", ["fasterrcnn", "dfine"])
def test_detectors_that_cannot_be_exported_are_refused_with_alternatives(architecture):
    with pytest.raises(UsageError, match="fcos, retinanet or ssdlite") as caught:
        exported_network(module_of(architecture, None))
    assert f"model.architecture={architecture} cannot be exported" in str(caught.value)
