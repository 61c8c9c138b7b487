"""Where a network looks: the class activation map of an image."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edarts.nn.mirrored import Mirrored


def activation_map(network: nn.Module, x: Tensor, target: int) -> Tensor:
    """(1, C, H, W) and a class -> (H, W), from 0 to 1: how much each place speaks for the class.

    HiResCAM (Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM"): the last map of the
    network times the gradient of the class's logit by it, summed over channels; what speaks against
    the class is 0. Of a network without maps, as of a linear one, the map is the image. The
    network's mode and its gradients stay as they are. Of a `Mirrored` one it is the answer to the
    image as it is.
    """
    network = network.network if isinstance(network, Mirrored) else network
    training, seen = network.training, _LastMap()
    network.eval()
    try:
        with torch.enable_grad(), seen:
            logit = network(x.detach().requires_grad_(True))[0, target]
        assert seen.last is not None  # the image itself, at least
        (grad,) = torch.autograd.grad(logit, seen.last)
    finally:
        network.train(training)
    found = (grad * seen.last.detach()).sum(dim=1, keepdim=True).relu()
    size = (int(x.shape[2]), int(x.shape[3]))
    found = nn.functional.interpolate(found, size, mode="bilinear", align_corners=False)[0, 0]
    highest = found.max()
    return found / highest if highest > 0 else found


class _LastMap(TorchFunctionMode):
    """Notes the last map (B, C, H, W), of more than one place, that a function of torch reads."""

    last: Tensor | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        for value in args:
            if isinstance(value, Tensor) and _is_map(value):
                self.last = value
        return func(*args, **(kwargs or {}))


def _is_map(value: Tensor) -> bool:
    computed = value.requires_grad and not isinstance(value, nn.Parameter)
    return computed and value.dim() == 4 and value.shape[2:].numel() > 1
