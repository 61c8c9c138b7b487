"""Planned evaluation: what a trained network says to one image, without waiting for Python."""

import threading
from operator import attrgetter

import torch
from torch import Tensor, nn

from edarts.nn.kernels import FeatureMap, Plan, Term, Unplanned, eager, enabled, node
from edarts.nn.mirrored import Mirrored
from edarts.nn.network import Network

HELD = 4  # sizes of images whose plans are kept


class Planned(nn.Module):
    """(B, C, H, W) -> (B, classes): what `network` says in evaluation.

    One image on the CPU in float32, without gradients, passes its cells by a `Plan`, if they can be
    planned; all else goes to the network. When the numbers of a weight have changed, plans are made
    again; a parameter in whose place another was set is not noticed.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self._lock = threading.Lock()
        self._plans: dict[torch.Size, Plan | None] = {}
        read = (network.stem[-1], network.cells)
        every = [t for part in read for t in (*part.parameters(), *part.buffers())]
        self._tensors = [tensor for tensor in every if tensor.is_floating_point()]
        self._state: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        network = self.network
        if not self._may(x):
            return network(x)  # type: ignore[no-any-return]
        *layers, norm = network.stem
        stem = x
        for layer in layers:
            stem = layer(stem)
        with self._lock:  # a plan has one memory for all who ask
            plan = self._plan(stem.shape)
            if plan is not None:
                return network.classify(plan(stem))
        return network.classify(network.stack(norm(stem))[-1].x)

    def __reduce__(self) -> tuple[type["Planned"], tuple[Network]]:
        return Planned, (self.network,)

    def _may(self, x: Tensor) -> bool:
        return (
            len(x) == 1
            and x.device.type == "cpu"
            and x.dtype == torch.float32
            and not (self.network.training or torch.is_grad_enabled())
            and not torch.is_autocast_enabled("cpu")
            and eager()
            and enabled()
        )

    def _plan(self, shape: torch.Size) -> Plan | None:
        """The plan for a stem's output; None: there can be none."""
        state = [*map(_version, self._tensors), *map(Tensor.data_ptr, self._tensors)]
        if state != self._state:
            self._plans, self._state = {}, state
        if shape not in self._plans:
            if len(self._plans) == HELD:
                self._plans.clear()
            with torch.inference_mode(False), torch.no_grad():
                plan = Plan(shape)
                try:
                    plan.make(self._cells)
                    self._plans[shape] = plan
                except Unplanned:
                    self._plans[shape] = None
        return self._plans[shape]

    def _cells(self, x: Tensor) -> Tensor:
        """The norm that ends the stem, and the cells."""
        norm = self.network.stem[-1]
        assert isinstance(norm, nn.BatchNorm2d)
        return self.network.stack(node([Term(FeatureMap(x), norm=norm)]))[-1].x


_version = attrgetter("_version")


def planned(network: nn.Module) -> nn.Module:
    """The network, planned if it consists of cells; its evaluation may be `Mirrored`."""
    if isinstance(network, Mirrored):
        return Mirrored(planned(network.network))
    return Planned(network) if isinstance(network, Network) else network
