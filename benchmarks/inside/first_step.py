"""Seconds from the start of the process to the end of its first optimiser step."""

import os
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

BEGAN = time.time() - float(os.environ.get("BENCHMARK_LAG", "0"))


def done(*_: object) -> None:
    """The step is made."""
    sys.stdout.write(f'\n{{"seconds": {time.time() - BEGAN}}}\n')
    sys.stdout.flush()
    os._exit(0)


def ours() -> None:
    """What ``train`` does."""
    from shape_sorter import cli

    def run_training(*arguments: object) -> None:
        del sys.modules["shape_sorter.train"]
        train = import_module("shape_sorter.train")
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(done)
        train.run_training(*arguments)

    # In the place of the real module, or PyTorch would be imported before it is its turn.
    stand_in = ModuleType("shape_sorter.train")
    stand_in.run_training = run_training  # type: ignore[attr-defined]
    sys.modules["shape_sorter.train"] = stand_in
    sys.argv = ["train", "tracking=none", "trainer.progress=false", "loader.workers=2"]
    cli.train()


def by_hand() -> None:
    """The same step, written down."""
    import lightning.pytorch  # noqa: F401 - whoever trains with it imports it
    import timm
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    register_optimizer_step_post_hook(done)
    steps = [v2.ToImage(), v2.RandomResizedCrop(64, scale=(0.8, 1.0)), v2.ToDtype(torch.float32, scale=True)]
    data = ImageFolder(str(next(Path("data/shapes").glob("*/train"))), v2.Compose(steps))
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True, num_workers=2)
    network = timm.create_model("resnet10t", num_classes=5).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    for images, targets in loader:
        loss = torch.nn.functional.cross_entropy(network(images), targets)
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    ours() if sys.argv[1] == "ours" else by_hand()
