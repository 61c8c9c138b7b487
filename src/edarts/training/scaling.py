"""Scaler: in fp16 a loss is multiplied before its gradient is taken, lest small ones round to zero.

The factor adapts (`torch.amp.GradScaler`): a gradient that overflows skips its step and halves it,
two thousand good steps double it. Methods and recipes do not see it: `optim.descend`, `gradients`
and `usable` ask for the scaler of the loop that runs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

LEAST_SCALE = 1.0  # overflow at this scale is the loss's own


class Scaler:
    """The scale of one loop's losses; in other precisions than fp16 it is 1 and does nothing."""

    def __init__(self, device: torch.device, enabled: bool) -> None:
        self.torch = torch.amp.GradScaler(device.type, enabled=enabled)
        self.enabled = enabled
        self._used = 1.0

    @property
    def scale(self) -> float:
        """What the next loss is multiplied by."""
        return float(self.torch.get_scale())

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss whose gradient is to be taken."""
        if not self.enabled:
            return loss
        result: Tensor = self.torch.scale(loss)
        self._used = self.scale
        return result

    def unscaled(self, gradient: Tensor) -> Tensor:
        """The gradient of the loss from that of the last `scaled` one."""
        return gradient / self._used if self.enabled else gradient

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """`unscaled` for the gradients of all parameters of the optimizer, in place.

        They must be the same on every process by now, so that all find the same overflow.
        """
        self.torch.unscale_(optimizer)

    def may_overflow(self) -> bool:
        """Whether the scale may be to blame for a gradient that is not finite."""
        return self.enabled and self._used > LEAST_SCALE

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step the optimizer, after `unscale`; if a gradient is not finite, lower the scale."""
        self.torch.step(optimizer)
        self.torch.update()

    def lower(self) -> None:
        """Halve the scale, after an overflow outside `step`; once for each `scaled` loss."""
        if self.scale == self._used:
            self.torch.update(self.scale * self.torch.get_backoff_factor())

    def state_dict(self) -> dict[str, Any]:
        """Scale and number of good steps since it changed; empty unless in fp16."""
        return dict(self.torch.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        if self.enabled:
            self.torch.load_state_dict(dict(state))


_NONE = Scaler(torch.device("cpu"), enabled=False)
_now: ContextVar[Scaler] = ContextVar("scaler", default=_NONE)


@contextmanager
def scaling(scaler: Scaler) -> Iterator[None]:
    """Losses inside the block are scaled by `scaler`."""
    token = _now.set(scaler)
    try:
        yield
    finally:
        _now.reset(token)


def scaler_now() -> Scaler:
    """The scaler of the innermost `scaling`; outside of any, one that does nothing."""
    return _now.get()
