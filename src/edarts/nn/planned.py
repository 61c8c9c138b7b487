"""Planned evaluation: what a trained network says to one image, without waiting for Python."""

import threading
from operator import attrgetter

import torch
from torch import Tensor, nn

from edarts.nn.kernels import Plan, Unplanned, eager, enabled
from edarts.nn.mirrored import Mirrored
from edarts.nn.network import Network
from edarts.nn.whitening import PATCH, Whitening

HELD = 4  # sizes of images whose plans are kept


class Planned(nn.Module):
    """(B, C, H, W) -> (B, classes): what `network` says in evaluation.

    One image on the CPU in float32, without gradients, passes all but the classifier by a `Plan`,
    if that can be planned; all else goes to the network. Plans are made again when the numbers of a
    weight have changed, and when all were replaced, as `load_state_dict` may; that another
    parameter stands in the place of a single one is not noticed.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self._lock = threading.Lock()
        self._plans: dict[torch.Size, Plan | None] = {}
        self._tensors: list[Tensor] = []
        self._state: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        network = self.network
        if not self._may(x):
            return network(x)  # type: ignore[no-any-return]
        with self._lock:  # a plan has one memory for all who ask
            plan = self._plan(x.shape)
            pooled = None if plan is None else plan(x)
        return network(x) if pooled is None else network.classifier(pooled)  # type: ignore[no-any-return]

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
        """The plan for images of a shape; None: there can be none."""
        if self._now() != self._state:
            self._plans.clear()
            every = [*self.network.parameters(), *self.network.buffers()]
            self._tensors = [tensor for tensor in every if tensor.is_floating_point()]
            self._state = self._now()
        if shape not in self._plans:
            if len(self._plans) == HELD:
                self._plans.clear()
            with torch.inference_mode(False), torch.no_grad():
                plan = Plan(shape)
                try:
                    plan.make(self._features)
                    self._plans[shape] = plan
                except Unplanned:
                    self._plans[shape] = None
        return self._plans[shape]

    def _now(self) -> list[int]:
        """What differs when weights do."""
        all_, one = self._tensors, self.network.classifier.weight
        return [id(one), *map(_version, all_), *map(Tensor.data_ptr, all_)]

    def _features(self, plan: Plan, x: Tensor) -> Tensor:
        """What the classifier reads."""
        network = self.network
        first = network.stem[0]
        if isinstance(first, Whitening):
            if first.shrink > 1:
                x = plan.shrink(x, first.shrink)
            if min(x.shape[2:]) < PATCH:
                raise Unplanned
        return network.stack(plan.layers(network.stem, x))[0]


_version = attrgetter("_version")


def planned(network: nn.Module) -> nn.Module:
    """The network, planned if it consists of cells; its evaluation may be `Mirrored`."""
    if isinstance(network, Mirrored):
        return Mirrored(planned(network.network))
    return Planned(network) if isinstance(network, Network) else network
