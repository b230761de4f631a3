"""Trainings whose processes torchrun or SLURM has started."""

from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from ..errors import UsageError
from ..run.processes import started_processes
from ..settings.tree import TrainerSettings


def check_processes(settings: TrainerSettings) -> None:
    """Check that as many processes were started as the settings ask for.

    ``trainer.devices`` may also be auto or a list of devices, which Lightning counts.

    Raises:
        UsageError: if the numbers differ.
    """
    started = started_processes()
    if not isinstance(settings.devices, int) or settings.devices < 1:
        return
    expected = settings.devices * settings.num_nodes
    if started not in {1, expected}:
        raise UsageError(
            f"{started} processes were started, but the settings are for {expected}:\n"
            "  trainer=ddp trainer.devices=<processes on a node> trainer.num_nodes=<nodes>"
        )


def cluster_plugins() -> list[Any]:
    """Lightning's plugin for SLURM, without its requeue: ``callbacks/preemption.py`` does that."""
    slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if slurm else []
