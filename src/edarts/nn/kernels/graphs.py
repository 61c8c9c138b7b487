"""Recorder: a network's passes on a GPU, recorded once as CUDA graphs, then replayed.

The step of a supernet is thousands of short kernels; a processor takes longer to start them one by
one than the GPU takes to compute them. A replay starts them all at once.
"""

import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, cast

import torch
from torch import Tensor, nn

from edarts.nn.kernels.compiled import eager, enabled

Function = Callable[..., Tensor]
PLAIN = 3  # calls of one form before it is recorded: others may never come again
HELD = 4  # recordings, each of which keeps the memory of its passes
REMEMBERED = 100  # forms that are counted


class Recorder:
    """Calls functions of tensors through one network, and records those that come again and again.

    It holds no results: copies of it, and what is loaded from a file, begin anew.
    """

    def __init__(self) -> None:
        self._calls: Counter[Hashable] = Counter()
        self._recorded: OrderedDict[Hashable, Function] = OrderedDict()
        self._replays: Counter[Hashable] = Counter()
        self._known: bool | None = None

    def __len__(self) -> int:
        """How many recordings it holds."""
        return len(self._recorded)

    def __deepcopy__(self, memo: Any) -> "Recorder":
        return Recorder()

    def __reduce__(self) -> tuple[type["Recorder"], tuple[()]]:
        return Recorder, ()

    def __call__(
        self, function: Function, net: nn.Module, constants: Hashable, *tensors: Tensor
    ) -> Tensor:
        """function(*tensors), a computation through `net` that depends on nothing else but
        `constants` and torch's random numbers.

        Gradients must be taken before the next call of the same form, whose passes take the memory
        of these; else taking them raises RuntimeError.
        """
        if not recordable(net, tensors[0]) or not self._knows(net):
            return function(*tensors)
        form = _form(net, constants, tensors)
        if form not in self._recorded:
            self._calls[form] += 1
            if len(self._calls) > REMEMBERED:
                self._calls = Counter({form: self._calls[form]})
            if self._calls[form] <= PLAIN or not _room(tensors[0].device):
                return function(*tensors)
            if len(self._recorded) == HELD:
                self._recorded.popitem(last=False)
            self._recorded[form] = _record(function, net, tensors)
        self._recorded.move_to_end(form)
        self._replays[form] += 1
        y: Tensor = _Latest.apply(  # type: ignore[no-untyped-call]
            self._recorded[form](*tensors), self._replays, form
        )
        return y

    def _knows(self, net: nn.Module) -> bool:
        """Whether all modules are of this package or PyTorch's: others may wait for the GPU, which
        cannot be recorded.
        """
        if self._known is None:
            homes = {type(module).__module__.partition(".")[0] for module in net.modules()}
            self._known = homes <= {"edarts", "torch"}
        return self._known


class _Latest(torch.autograd.Function):
    """A copy of a replay's result, whose memory the next one takes."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, replays: Counter[Hashable], form: Hashable) -> Tensor:
        ctx.replays, ctx.form, ctx.number = replays, form, replays[form]
        return y.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        if ctx.replays[ctx.form] != ctx.number:
            raise RuntimeError("the passes were replayed before their gradients were taken")
        return grad, None, None


def recordable(net: nn.Module, x: Tensor) -> bool:
    """The rule: steps of a training on a GPU, that are not recorded in another way."""
    return x.is_cuda and net.training and torch.is_grad_enabled() and eager() and enabled()


def _form(net: nn.Module, constants: Hashable, tensors: tuple[Tensor, ...]) -> Hashable:
    """What a recording is good for."""
    kinds = tuple((x.shape, x.stride(), x.dtype, x.requires_grad) for x in tensors)
    learns = tuple(p.requires_grad for p in net.parameters())
    half = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda")
    return constants, kinds, learns, half


def _room(device: torch.device) -> bool:
    """Whether the GPU has as much memory left as the passes have needed so far."""
    free, _ = torch.cuda.mem_get_info(device)
    return free > torch.cuda.max_memory_allocated(device)


class _Passes(nn.Module):
    """The function as a module, by which its parameters are found."""

    def __init__(self, function: Function, net: nn.Module) -> None:
        super().__init__()
        self.function, self.net = function, net

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.function(*tensors)


def _record(function: Function, net: nn.Module, tensors: tuple[Tensor, ...]) -> Function:
    """The function, its passes recorded for tensors of this form."""
    samples = tuple(x.detach().clone().requires_grad_(x.requires_grad) for x in tensors)
    buffers = [*net.buffers()]
    before = [buffer.clone() for buffer in buffers]
    with warnings.catch_warnings(), torch.cuda.device(tensors[0].device):
        # Of gradients that are made on another stream while it records.
        warnings.simplefilter("ignore")
        recorded = torch.cuda.make_graphed_callables(
            _Passes(function, net), samples, allow_unused_input=True
        )
    with torch.no_grad():  # as if it had not been tried out
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
    return cast(Function, recorded)
