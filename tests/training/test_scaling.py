"""fp16's adaptive scale of losses, on a CPU: no step shows it, overflow skips one, resume keeps it.

The scaler works on any device; only the half-precision products that need it do not.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from edarts import EdartsError
from edarts.errors import Interrupted
from edarts.runs.folder import Run
from edarts.runs.stop import Stop
from edarts.runtime import Runtime
from edarts.training import loop as loops
from edarts.training.loop import Loop, Metrics, load_states, states
from edarts.training.optim import descend, gradients, left_gradients, usable
from edarts.training.scaling import Scaler, scaler_now, scaling

CPU = torch.device("cpu")
FIRST_SCALE = 2.0**16
TOO_LARGE = 1e36  # of a gradient: times the first scale no float32


@contextmanager
def half() -> Iterator[Scaler]:
    scaler = Scaler(CPU, enabled=True)
    with scaling(scaler):
        yield scaler


def test_scaled_losses_give_the_same_step() -> None:
    """In half precision a loss is scaled for its gradient; no step may show it."""
    found = []
    for how in (nullcontext(), half()):
        with how:
            w, other = (torch.tensor([1.0, -2.0], requires_grad=True) for _ in range(2))
            optimizer = torch.optim.SGD([w], 0.5)
            descend((w**2 + other**3).sum(), optimizer, 100.0, "here")
            parts = [*gradients((w**3).sum(), [w, other]), *left_gradients([other, torch.ones(1)])]
            found.append([w.tolist(), *(part.tolist() for part in parts)])
    assert found[0] == found[1]
    assert found[0][0] == [0.0, 0.0] and found[0][3] == [3.0, 12.0]


def test_small_gradients_survive() -> None:
    """What the scale is for: the gradient of a product in fp16 would round to zero."""
    w = torch.tensor(1.0, requires_grad=True)
    found = []
    for how in (nullcontext(), half()):
        with how:
            found.append(gradients(w.half().float() * 1e-9, [w])[0].item())
    assert found[0] == 0
    assert found[1] == pytest.approx(1e-9, rel=1e-2)


def test_overflow_skips_the_step_and_lowers_the_scale() -> None:
    with half() as scaler:
        w = torch.tensor([1.0], requires_grad=True)
        optimizer = torch.optim.SGD([w], 0.5)
        descend(w.sum() * TOO_LARGE, optimizer, 5.0, "here")
        assert w.item() == 1 and scaler.scale == FIRST_SCALE / 2
        descend(w.sum(), optimizer, 5.0, "here")
        assert w.item() == 0.5 and scaler.scale == FIRST_SCALE / 2


def test_overflow_of_an_architecture_step() -> None:
    with half() as scaler:
        alpha = torch.tensor([1.0], requires_grad=True)
        found = gradients(alpha.sum() * TOO_LARGE, [alpha])
        assert not usable(found) and scaler.scale == FIRST_SCALE / 2
        assert usable(gradients(alpha.sum(), [alpha])) and scaler.scale == FIRST_SCALE / 2


def test_one_overflow_lowers_the_scale_once() -> None:
    """A joint step takes the gradients of weights and architecture from one loss."""
    with half() as scaler:
        w, alpha = (torch.tensor([1.0], requires_grad=True) for _ in range(2))
        descend((w + alpha).sum() * TOO_LARGE, torch.optim.SGD([w], 0.5), 5.0, "here")
        assert not usable(left_gradients([alpha])) and scaler.scale == FIRST_SCALE / 2


def test_a_scale_that_cannot_fall_further_is_not_to_blame() -> None:
    """A gradient that is infinite at every scale ends the run instead of skipping for ever."""
    with half() as scaler:
        w = torch.tensor([0.0], requires_grad=True)  # the slope of its root is infinite
        optimizer = torch.optim.SGD([w], 0.5)
        for _ in range(16):  # from the first scale, 2 to the power of 16
            descend(w.sqrt().sum(), optimizer, 5.0, "step 9")
        with pytest.raises(EdartsError, match="step 9: the loss became NaN or infinite"):
            descend(w.sqrt().sum(), optimizer, 5.0, "step 9")
        assert w.item() == 0 and scaler.scale == 1
        with pytest.raises(FloatingPointError):
            usable(gradients(w.sqrt().sum(), [w]))


def test_without_a_scale_nothing_is_skipped() -> None:
    w = torch.tensor([0.0], requires_grad=True)
    with pytest.raises(EdartsError, match="here: the loss became NaN or infinite"):
        descend(w.sqrt().sum(), torch.optim.SGD([w], 0.5), 5.0, "here")
    with pytest.raises(FloatingPointError):
        usable(gradients(w.sqrt().sum(), [w]))
    assert not scaler_now().enabled and scaler_now().state_dict() == {}


@dataclass
class Sometimes:
    """A phase of which some steps overflow; `stop_at`: where it asks to stop."""

    stop: Stop
    stop_at: int = -1
    w: Tensor = field(default_factory=lambda: torch.ones(1, requires_grad=True))
    seen: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.SGD([self.w], 0.1, momentum=0.9)

    def finished(self) -> bool:
        return False

    def step(self, epoch: int, at: int) -> Metrics:
        loss = (self.w * torch.rand(1)).sum() * (TOO_LARGE if at == 1 else 1.0)
        descend(loss, self.optimizer, 5.0, "here")
        self.seen.append(scaler_now().scale)
        self.stop.requested = at == self.stop_at
        return {"loss": loss.item()}

    def end(self, epoch: int) -> dict[str, Any]:
        return {"scale": scaler_now().scale}

    def state(self) -> dict[str, Any]:
        return {"w": self.w.detach().clone(), **states(optimizer=self.optimizer)}

    def restore(self, state: dict[str, Any]) -> None:
        self.w.data.copy_(state["w"])
        load_states(state, optimizer=self.optimizer)


def test_the_scale_survives_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "autocast", lambda device, precision: nullcontext())  # no GPU here
    stop = Stop()
    runtime = Runtime(CPU, seed=0, stop=stop, precision="fp16")
    whole = Sometimes(stop)
    Loop("train", 2, 3, runtime)(whole)
    assert whole.seen == [FIRST_SCALE / 2**n for n in (0, 1, 1, 1, 2, 2)]

    resumed = replace(runtime, run=Run(tmp_path))
    part = Sometimes(stop, stop_at=1)
    with pytest.raises(Interrupted):
        Loop("train", 2, 3, resumed)(part)
    stop.requested = False
    rest = Sometimes(stop)
    loop = Loop("train", 2, 3, replace(runtime, run=Run(tmp_path)))
    loop(rest)
    assert part.seen + rest.seen == whole.seen
    assert torch.equal(rest.w, whole.w)
    assert [line["scale"] for line in loop.history] == [FIRST_SCALE / 2, FIRST_SCALE / 4]


def test_other_precisions_keep_no_scale(tmp_path: Path) -> None:
    run = Run(tmp_path)
    phase = Sometimes(Stop())
    phase.w = torch.zeros(1, requires_grad=True)
    phase.optimizer = torch.optim.SGD([phase.w], 0.1)
    Loop("train", 1, 1, Runtime(CPU, run=run))(phase)
    assert "scaler" not in run.states()["train"]
