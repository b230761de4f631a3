"""Split weights over the processes (``trainer=fsdp``): each keeps a part, and gathers what it uses.

PyTorch's fully_shard (FSDP2); gradients, the optimiser's state and the moving average are split
with the weights. Checkpoints stay whole, so that nothing that reads them needs to know.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor


def fully_sharded(processes: int) -> ModelParallelStrategy:
    """Lightning's strategy for it; its own FSDPStrategy runs on GPUs alone and does not resume."""
    return ModelParallelStrategy(
        data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
    )


def shard(
    network: nn.Module, backbone: nn.Module, mesh: DeviceMesh, *, methods: Sequence[str] = ()
) -> None:
    """Split the network's weights, once.

    Args:
        network: of which one block after another is gathered, and what is left all at once.
        backbone: where the blocks are.
        mesh: the processes.
        methods: of the network that are called besides ``forward``.
    """
    if isinstance(network, FSDPModule):
        return
    # It takes no other order; images that come with channels last keep theirs.
    network.to(memory_format=torch.contiguous_format)
    for block in _blocks(backbone):
        fully_shard(block, mesh=mesh["data_parallel"])
    fully_shard(network, mesh=mesh["data_parallel"])
    for method in methods:
        register_fsdp_forward_method(network, method)


def _blocks(backbone: nn.Module) -> Iterator[nn.Module]:
    """What stands in a row and is more than a layer; inner ones first."""
    for row in reversed(list(backbone.modules())):
        if isinstance(row, nn.Sequential | nn.ModuleList):
            yield from (block for block in row if any(map(_has_weights, block.children())))


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def is_split(module: nn.Module) -> bool:
    """Whether no process has all weights."""
    return any(isinstance(weight, DTensor) for weight in module.parameters())


def own_part(value: Tensor) -> Tensor:
    """What this process keeps of a weight; all of it if it is not split."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put parts together, one after another in main memory; all processes must call it."""
    return {
        name: value.full_tensor().cpu() if isinstance(value, DTensor) else value
        for name, value in state.items()
    }


def load_whole(module: nn.Module, state: dict[str, Any]) -> None:
    """Load whole weights, of which a process takes its part if they are split."""
    set_model_state_dict(module, state, options=StateDictOptions(full_state_dict=True))


class SameBuffers(Callback):
    """Validate with the first process's buffers, such as the means of batch norm.

    These are not split, and its are saved. It follows the moving average, which has buffers, too.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send them to the other processes."""
        for buffer in pl_module.buffers():
            distributed.broadcast(buffer, src=0)
