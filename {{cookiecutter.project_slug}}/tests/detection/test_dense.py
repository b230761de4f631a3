from types import SimpleNamespace

import onnxruntime
import pytest
import torch
from test_detection import network, targets

from {{ cookiecutter.package_name }}.detection.export import (
    dense_network,
    from_outputs,
    postprocessing,
)
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.export.export import DYNAMIC, Graph
from {{ cookiecutter.package_name }}.export.onnx_network import write_onnx

DENSE = ["fcos", "retinanet", "ssdlite"]


def module_of(architecture, detector, size=128):
    """As much of a module as an export looks at."""
    model = SimpleNamespace(architecture=architecture, score_threshold=0.3)
    settings = SimpleNamespace(model=model, data=SimpleNamespace(image_size=size))
    return SimpleNamespace(network=detector, settings=settings, classes=["a", "b", "c"])


@pytest.fixture(scope="module", params=DENSE)
def trained(request):
    """A detector that has learnt one image by heart, and some images."""
    torch.manual_seed(0)
    detector = network(request.param).train()
    images = torch.randint(0, 60, (3, 3, 128, 128), dtype=torch.uint8)
    objects = targets()
    for box in (objects[0].boxes * 128).int().tolist():
        images[:, :, box[1] : box[3], box[0] : box[2]] += 150
    optimizer = torch.optim.AdamW(detector.parameters(), lr=2e-3)
    for _ in range(30):
        loss = torch.stack(list(detector.losses(images[:2], objects).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
        optimizer.step()
    return module_of(request.param, detector.eval()), images


def test_boxes_chosen_from_the_dense_outputs_are_those_of_torchvision(trained):
    module, images = trained
    dense = dense_network(module).eval()
    with torch.inference_mode():
        expected = module.network(images)
        found = from_outputs(dense(images), postprocessing(module, dense))
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours.scores) > 10
        assert ours.labels.tolist() == theirs.labels.tolist()
        torch.testing.assert_close(ours.scores, theirs.scores, atol=1e-6, rtol=0)
        torch.testing.assert_close(ours.boxes, theirs.boxes, atol=1e-5, rtol=0)


def test_the_rules_limit_each_level_each_class_and_the_whole(trained):
    module, images = trained
    module.network.model.model.topk_candidates = 7
    module.network.model.model.detections_per_img = 12
    dense = dense_network(module).eval()
    rules = postprocessing(module, dense)
    with torch.inference_mode():
        outputs = dense(images)
    assert sum(rules["levels"]) == outputs[0].shape[1]
    found = from_outputs(outputs, rules)
    assert all(0 < len(one.scores) <= 12 for one in found)
    nothing = from_outputs(outputs, {**rules, "score_threshold": 1.0})
    assert [len(one.scores) for one in nothing] == [0, 0, 0]
    one_each = from_outputs(outputs, {**rules, "candidates_per_level": 1})
    assert all(len(one.scores) <= len(rules["levels"]) for one in one_each)


def test_each_dense_detector_runs_as_onnx_in_batches_of_any_size(trained, tmp_path):
    module, images = trained
    graph = Graph(dense_network(module)).eval()
    program = torch.export.export(graph, (images[:2],), dynamic_shapes=DYNAMIC)
    write_onnx(program, tmp_path / "a.onnx", outputs=["boxes", "scores"], dynamic=DYNAMIC)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    for batch in (images[:1], images.repeat(3, 1, 1, 1)[:7]):
        with torch.inference_mode():
            expected = graph(batch)
        for ours, theirs in zip(
            session.run(None, {"images": batch.numpy()}), expected, strict=True
        ):
            torch.testing.assert_close(torch.from_numpy(ours), theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", ["fasterrcnn", "dfine"])
def test_what_is_no_dense_graph_is_refused_with_the_way_out(architecture):
    with pytest.raises(UsageError) as caught:
        dense_network(module_of(architecture, None))
    assert f"model.architecture={architecture} cannot be exported" in str(caught.value)
    assert "fcos, retinanet or ssdlite" in str(caught.value)
