"""The resumable epoch loop that searching and training share.

The caller gives a step, what to do at an epoch's end, and its state; the loop does position,
seeds, metrics, progress, checkpoints, stopping and resuming. Before each step torch is seeded by
(seed, phase, epoch, step), so a resumed run is bit-identical on the CPU without any saved
random state.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from edarts.errors import EdartsError, Interrupted, UsageError, unknown
from edarts.nn.kernels import warm_up
from edarts.runs.folder import Run, Stop
from edarts.runs.progress import Progress, clock
from edarts.seeds import seed_all
from edarts.training import distributed as ranks

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
HALF_SCALE = 1024.0  # a power of two: no digit is lost

Metrics = dict[str, float]
Net = TypeVar("Net", bound=nn.Module)


@dataclass
class Loop:
    """`epochs` epochs of `steps` steps of one phase.

    `run`: where checkpoints and metrics go; None keeps nothing. `stop`: checked after every step.
    `describe`: what to show of an epoch's line beside the averages.
    """

    phase: str
    epochs: int
    steps: int
    seed: int
    run: Run | None = None
    progress: Progress = field(default_factory=Progress)
    stop: Stop = field(default_factory=Stop)
    describe: Callable[[dict[str, Any]], str] = lambda line: ""
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def __call__(
        self,
        step: Callable[[int, int], Metrics],
        end: Callable[[int], dict[str, Any]],
        state: Callable[[], dict[str, Any]],
        restore: Callable[[dict[str, Any]], None],
    ) -> None:
        """Run to the end, from the checkpoint if there is one.

        `step(epoch, step)` returns metrics to be averaged over the epoch; `end(epoch)` what else
        goes into the epoch's line. `state` and `restore` are inverse. Raises Interrupted after a
        checkpoint when a stop was asked for, and EdartsError if `step` finds a loss that is no
        number: the last checkpoint stays.
        """
        epoch, at, sums = 0, 0, {}  # type: int, int, Metrics
        saved = self.run.states().get(self.phase) if self.run is not None else None
        if saved is not None and self.run is not None:
            try:
                epoch, at, sums = saved["epoch"], saved["step"], dict(saved["sums"])
                self.seconds, self.history = saved["seconds"], list(saved["history"])
                restore(saved["state"])
            except (KeyError, ValueError, TypeError, RuntimeError) as error:
                raise EdartsError(
                    f"{self.run.path / 'checkpoint.pt'}: the {self.phase} state does not fit this"
                    f" run ({type(error).__name__}); delete it to begin again"
                ) from None
            self.run.rewind(self.phase, epoch)
            if epoch < self.epochs:
                self.progress.say(f"{self.phase}: continues at epoch {epoch + 1}, step {at + 1}")
        if epoch >= self.epochs:
            return
        start = saved_at = time.monotonic()
        before = self.seconds
        begun = epoch * self.steps + at
        with self.progress.phase():
            while epoch < self.epochs:
                seed_all(self.seed, self.phase, epoch, at)
                for name, value in ranks.average_values(step(epoch, at)).items():
                    sums[name] = sums.get(name, 0.0) + value
                at += 1
                means = {name: total / at for name, total in sums.items()}
                now = time.monotonic()
                self.seconds = before + now - start
                done = epoch * self.steps + at
                self._show(epoch, means, (now - start) / (done - begun), done)
                if at == self.steps:
                    seed_all(self.seed, self.phase, epoch, "end")
                    line = {"phase": self.phase, "epoch": epoch, **means, **end(epoch)}
                    self.seconds = before + time.monotonic() - start
                    line["seconds"] = round(self.seconds, 3)
                    self.history.append(line)
                    if self.run is not None:
                        self.run.record(**line)
                    epoch, at, sums = epoch + 1, 0, {}
                finished = epoch == self.epochs
                stopping = ranks.agree(self.stop.requested)
                due = (
                    self.run is not None
                    and time.monotonic() - saved_at >= self.run.checkpoint_seconds
                )
                if self.run is not None and (due or finished or stopping):
                    self.run.save(
                        self.phase,
                        {
                            "epoch": epoch,
                            "step": at,
                            "sums": sums,
                            "seconds": self.seconds,
                            "history": self.history,
                            "state": state(),
                        },
                    )
                    saved_at = time.monotonic()
                if stopping and not finished:
                    raise Interrupted(f"{self.phase}: stopped in epoch {epoch + 1}, step {at + 1}")

    def _show(self, epoch: int, means: Metrics, per_step: float, done: int) -> None:
        eta = clock(per_step * (self.epochs * self.steps - done))
        parts = [f"{self.phase} {epoch + 1}/{self.epochs}", f"eta {eta}"]
        parts += [f"{name} {value:.3f}" for name, value in means.items()]
        parts += [self.describe(self.history[-1])] if self.history else []
        self.progress.update("  ".join(parts))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of logits (B, classes) and labels (B,)."""
    return nn.functional.cross_entropy(logits, labels)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of right answers, 0..1."""
    return float((logits.detach().argmax(dim=-1) == labels).float().mean())


def sgd(net: nn.Module, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD over all parameters at once.

    Not `fused`: that fails where a parameter gets its first gradient after others (torch 2.13).
    """
    return torch.optim.SGD(
        net.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, foreach=True
    )


def descend(
    loss: Tensor, optimizer: torch.optim.Optimizer, clip: float, where: str, hint: str = "--lr"
) -> None:
    """One optimizer step on `loss`, the gradient's norm clipped to `clip`.

    Raises EdartsError, before anything changes, if the loss or its gradient is no number.
    """
    if not math.isfinite(ranks.average_values({"loss": loss.item()})["loss"]):
        raise not_finite(where, hint)
    optimizer.zero_grad(set_to_none=True)
    scale = loss_scale(loss.device)
    (loss if scale == 1 else loss * scale).backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if scale != 1:
        torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], 1 / scale)
    ranks.average_gradients(parameters)
    if not math.isfinite(nn.utils.clip_grad_norm_(parameters, clip).item()):
        raise not_finite(where, hint)
    optimizer.step()


def gradients(loss: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """d loss / d inputs, zeros where the loss does not depend on one."""
    scale = loss_scale(loss.device)
    found = torch.autograd.grad(
        loss if scale == 1 else loss * scale, inputs, allow_unused=True, materialize_grads=True
    )
    return found if scale == 1 else tuple(gradient / scale for gradient in found)


@contextmanager
def autocast(where: torch.device, precision: str) -> Iterator[None]:
    """Convolutions and products in `precision` inside the block; weights and sums stay float32.

    Raises UsageError for a precision that is none of `PRECISIONS` or that the device has not.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if precision == "fp32":
        yield
        return
    if precision == "fp16" and where.type == "cpu":
        raise UsageError("precision fp16 needs a GPU; bf16 works here, fp32 is the fastest on most")
    with torch.autocast(where.type, PRECISIONS[precision]):
        yield


def loss_scale(where: torch.device) -> float:
    """What a loss is multiplied by for its gradient, lest half precision round it to zero."""
    half = torch.is_autocast_enabled(where.type) and (
        torch.get_autocast_dtype(where.type) == torch.float16
    )
    return HALF_SCALE if half else 1.0


def not_finite(where: str, hint: str = "--lr") -> EdartsError:
    """The error for a loss or gradient that is NaN or infinite."""
    return EdartsError(
        f"{where}: the loss is not a number any more; the last good checkpoint is kept."
        f" Try a lower {hint}, in another --out"
    )


def cosine(epoch: int, epochs: int, first: float, last: float) -> float:
    """Learning rate of `epoch` (0-based): last + (first - last) (1 + cos(pi e / E)) / 2."""
    return last + 0.5 * (first - last) * (1 + math.cos(math.pi * epoch / epochs))


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def device_of(name: str, say: Callable[[str], None] | None = None) -> torch.device:
    """`auto` -> cuda, else mps, else cpu; raises EdartsError for a device that is not there.

    On the CPU the compiled loops are loaded; `say` is told if they have to be compiled first.
    """
    have = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in have.items() if there)
    if not have.get(name.split(":")[0], False):
        there = ", ".join(device for device, ok in have.items() if ok)
        raise EdartsError(f"device {name} is not here; this machine has: {there}")
    if name == "cpu":
        warm_up(say)
    # Values near zero are common in late training and take the slow path of the processor.
    torch.set_flush_denormal(True)
    if ranks.count() > 1 and ":" not in name:
        return ranks.join(cpu=name == "cpu")
    return torch.device(name)


def place(net: Net, where: torch.device) -> Net:
    """Move a network to the device, its weights into channels-last memory."""
    net.to(where)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """A forward pass in here prepares no gradient of the network's weights, and computes none."""
    trained = [p for p in net.parameters() if p.requires_grad]
    for p in trained:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in trained:
            p.requires_grad_(True)


def load_states(state: Mapping[str, Any], **parts: Any) -> None:
    """Give each part (a module, optimizer or method) its entry of `state`."""
    for name, part in parts.items():
        part.load_state_dict(state[name])


def states(**parts: Any) -> dict[str, Any]:
    """name -> state_dict of each part."""
    return {name: part.state_dict() for name, part in parts.items()}
