"""Tapes: the passes of a stack of cells on the CPU, written down once, then done without Python.

What a node of a cell computes is a few compiled loops, and finding out which, with which arrays,
takes as long as some of them take. So when passes come the second time in the same form, every loop
that they call is written down with its arrays, whose memory the tape holds; from then on those
calls are made again, one after the other. The loops are the same and so is their order: not a bit
of a result changes.

Passes of which not all is loops are not taped: they go as before. The first are watched for that.
"""

import ctypes
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edarts.nn.kernels.compiled import fast, load_loops, now
from edarts.nn.kernels.layout import Floats

Passes = Callable[[Tensor, Sequence[Tensor]], Sequence[Tensor]]
"""An image tensor and scalars -> image tensors, and some of (B, C)."""

Calls = list[tuple[str, tuple[Any, ...]]]
"""Names of loops, and their arguments."""

HELD = 4  # tapes of one network; their memory is the same
REMEMBERED = 100  # forms that came once, or of which not all is loops
BESIDE = ("aten::empty.memory_format", "aten::stack")  # what a tape gives in other ways
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
NOTHING = np.empty(0, np.float32)
LINE = 16  # numbers of a cache line
WASTE = 2  # how much larger than needed a piece of memory may be


class Tapes:
    """Calls passes through one network, and tapes those that come again.

    It holds no results: copies of it, and what is loaded from a file, begin anew.
    """

    def __init__(self) -> None:
        self._rooms, self._given = Rooms(), Rooms()
        self._states: dict[Hashable, int] = {}  # numbers of what was met; they are long
        self._seen: OrderedDict[Hashable, bool] = OrderedDict()  # form -> whether all is loops
        self._tapes: OrderedDict[Hashable, Tape] = OrderedDict()
        self._latest: Callable[[], Pass | None] = lambda: None

    def __len__(self) -> int:
        """How many tapes it holds."""
        return sum(tape.ended for tape in self._tapes.values())

    def __deepcopy__(self, memo: Any) -> "Tapes":
        return Tapes()

    def __reduce__(self) -> tuple[type["Tapes"], tuple[()]]:
        return Tapes, ()

    def __call__(
        self,
        passes: Passes,
        modules: Sequence[nn.Module],
        constants: Hashable,
        x: Tensor,
        scalars: Sequence[Tensor],
    ) -> Sequence[Tensor]:
        """passes(x, scalars), a computation through `modules` that depends on nothing else but
        `constants`.

        While the gradients of taped passes may still be taken, others are not taped.
        """
        if not fast(x) or now.tape is not None:
            return passes(x, scalars)
        # As the loops read it, so that what else reads it finds it the same on a tape and off.
        x = x.contiguous(memory_format=torch.channels_last)
        state = _state(modules)
        if state is None or not self._free():
            return passes(x, scalars)
        needs = tuple(scalar.requires_grad for scalar in scalars)
        form = (constants, x.shape, x.requires_grad, needs, self._number(state.form))
        tape = self._tape(form, passes)
        if tape is None:
            return self._untaped(form, passes, x, scalars)
        factors = torch.stack(list(scalars)) if scalars else x.new_empty(0)
        this = Pass()
        self._latest = weakref.ref(this)
        outs: tuple[Tensor, ...] = TapeFunction.apply(  # type: ignore[no-untyped-call]
            tape, this, x, factors, *state.learning
        )
        return outs

    def _untaped(
        self, form: Hashable, passes: Passes, x: Tensor, scalars: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """Passes without a tape; those that come the first time are watched."""
        if form in self._seen:
            return passes(x, scalars)
        with _Watching(BESIDE) as watched:
            outs = passes(x, scalars)
        self._seen[form] = watched.whole
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return outs

    def _free(self) -> bool:
        """Whether no gradients of taped passes may still be taken; all have one memory."""
        latest = self._latest()
        return latest is None or latest.taken

    def _number(self, state: Hashable) -> int:
        """The same for the same state."""
        if len(self._states) > REMEMBERED:
            self._states.clear()
            self._seen.clear()
            self._tapes.clear()
        return self._states.setdefault(state, len(self._states))

    def _tape(self, form: Hashable, passes: Passes) -> "Tape | None":
        """The tape of this form, to be made or to be played; None: there is none."""
        tape = self._tapes.get(form)
        if tape is not None and tape.whole and tape.ended:
            self._tapes.move_to_end(form)
            return tape
        if tape is not None:  # not whole, or its gradients were never taken
            self._seen[form] = tape.whole
            del self._tapes[form]
            if not self._tapes:
                self._rooms = Rooms()  # and that of before is given back
        if not self._seen.get(form):
            return None
        _give_back()
        if len(self._tapes) == HELD:
            self._tapes.popitem(last=False)
        made = self._tapes[form] = Tape(self._rooms, self._given, passes)
        return made


class Pass:
    """Passes whose gradients have not been `taken` yet; it lives as long as they can be."""

    def __init__(self) -> None:
        self.taken = False


class TapeFunction(torch.autograd.Function):
    """x (B, C, H, W), factors (T,), parameters -> what the passes return: images, or (B, C)."""

    @staticmethod
    def forward(
        ctx: Any, tape: "Tape", this: Pass, x: Tensor, factors: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.tape, ctx.this = tape, this
        ctx.x = x.detach()  # whose memory is read on the way back
        if tape.begun:
            return tape.play_forward(x, factors)
        needs = ctx.needs_input_grad
        return tape.note_forward(x, factors, parameters, needs[2], needs[3])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.this.taken:
            raise RuntimeError(
                "the gradients of these passes were taken before: to take them twice, set"
                " EDARTS_KERNELS=off"
            )
        tape = ctx.tape
        found = tape.play_backward(grads) if tape.ended else tape.note_backward(ctx.x, grads)
        ctx.this.taken, ctx.x = True, None
        return (None, None, *found)


class Tape:
    """The loops that passes call, forward and backward, and what goes in and comes out.

    `rooms`: memory that only tapes know; `given`: that of gradients that they hand to others.
    `begun`, `ended`: whether the way forward, and all of it, is written down. `whole`: whether
    nothing else was computed.
    """

    def __init__(self, rooms: "Rooms", given: "Rooms", passes: Passes) -> None:
        self.begun = self.ended = False
        self.whole = True
        self._rooms, self._given, self._passes = rooms, given, passes
        self._calls: Calls = []  # that are being written down, then those backward
        self._forward: Calls = []
        self._vectors: list[tuple[Tensor, NDArray[np.int64]]] = []
        self._numbers: dict[int, int] = {}  # id of a scalar -> its number
        self._lent_at: dict[int, int] = {}  # address of memory -> calls before it was lent
        self._factors: Tensor
        self._outs: list[Tensor]
        self._leaves: list[Tensor]
        self._grads: list[Tensor]
        self._found: list[Tensor | None]
        # Where x is read forward and backward, and where its gradient is written.
        self._x: list[Places]
        self._dx: Places | None = None

    # -- writing down

    def note_forward(
        self,
        x: Tensor,
        factors: Tensor,
        parameters: Sequence[Tensor],
        needs_x: bool,
        needs_factors: bool,
    ) -> tuple[Tensor, ...]:
        """Compute the passes and write them down; `needs_...`: whether gradients will be taken."""
        self._factors, self._needs_factors = factors.clone(), needs_factors
        scalars = self._factors.unbind()
        self._numbers = {id(scalar): number for number, scalar in enumerate(scalars)}
        leaf = x.detach().requires_grad_(needs_x)
        with torch.enable_grad(), _noting(self):
            outs = self._passes(leaf, scalars)
        self._outs = [out.detach() for out in outs]
        self._graph = list(outs)
        vectors = [vector for vector, _ in self._vectors if vector.requires_grad]
        self._leaves = [*([leaf] if needs_x else []), *vectors, *parameters]
        self._has = (needs_x, len(vectors))
        self._forward, self._calls = self._calls, []
        self._x = [Places(self._forward, x)]
        self.whole = self.whole and all(out.data_ptr() != x.data_ptr() for out in outs)
        del self._passes, self._numbers  # they would keep what they refer to, or begin to lie
        self.begun = True
        return tuple(out.clone() for out in self._outs)

    def note_backward(self, x: Tensor, grads: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Take the gradients and write that down."""
        self._lent_at.clear()
        self._grads = [*grads]
        if self.whole:
            self._grads = [_image(self.empty(*_rows(grad))) for grad in grads]
            for mine, grad in zip(self._grads, grads, strict=True):
                mine.copy_(grad)
        outs = [out for out in self._graph if out.requires_grad]
        given = [g for out, g in zip(self._graph, self._grads, strict=True) if out.requires_grad]
        del self._graph
        with _noting(self):
            found = torch.autograd.grad(outs, self._leaves, given, allow_unused=True)
        self._found, self.ended = list(found), True
        self._x.append(Places(self._calls, x))
        dx = self._found[0] if self._has[0] else None
        if dx is not None and dx.data_ptr() in self._lent_at:
            self._dx = Places(self._calls, dx, self._lent_at[dx.data_ptr()])
            self.whole = self.whole and self._dx.whole
        self.whole = self.whole and all(places.whole for places in self._x)
        self._let_go()
        handed = self._handed_over(_copied(dx))
        if self._dx is not None:
            self._found[0] = None  # each pass has memory of its own for it
        return handed

    def noting(self, loops: Any) -> "_Loops":
        """The loops, whose calls are written down."""
        return _Loops(self, loops)

    def note(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Write down a call of a loop."""
        self._calls.append((name, tuple(self._rooms.unowned(a) for a in arguments)))

    def empty(self, *shape: int) -> Tensor:
        """Memory for any numbers, which the tape holds for its next pass."""
        made = self._rooms.empty(shape)
        self._lent_at[made.data_ptr()] = len(self._calls)
        return made

    def vector(self, scalars: Sequence[Tensor]) -> Tensor:
        """(T,) of some of the scalars, which the next pass fills anew."""
        if any(id(scalar) not in self._numbers for scalar in scalars):  # something made of them
            self.whole = False
            return torch.stack(list(scalars))
        numbers = np.array([self._numbers[id(scalar)] for scalar in scalars], np.int64)
        made = torch.from_numpy(self._factors.numpy()[numbers]).requires_grad_(self._needs_factors)
        self._vectors.append((made, numbers))
        return made

    # -- doing it again

    def play_forward(self, x: Tensor, factors: Tensor) -> tuple[Tensor, ...]:
        """The passes once more."""
        for calls, places in zip((self._forward, self._calls), self._x, strict=True):
            places.bind(calls, x)
        numbers: Floats = factors.detach().numpy()
        for vector, some in self._vectors:
            vector.detach().numpy()[:] = numbers[some]
        _play(self._forward)
        return tuple(out.clone() for out in self._outs)

    def play_backward(self, grads: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """The gradients once more."""
        for mine, grad in zip(self._grads, grads, strict=True):
            mine.copy_(grad)
        dx = None
        if self._dx is not None:
            dx = _image(self._given.empty(self._dx.shape))
            self._dx.bind(self._calls, dx)
        elif self._has[0]:
            dx = self._found[0]
        _play(self._calls)
        self._let_go()
        return self._handed_over(dx if self._dx is not None else _copied(dx))

    def _let_go(self) -> None:
        """Of memory that belongs to others."""
        for calls, places in zip((self._forward, self._calls), self._x, strict=True):
            places.bind(calls, None)
        if self._dx is not None:
            self._dx.bind(self._calls, None)

    def _handed_over(self, dx: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of x, the factors and the parameters, nobody else's."""
        needs_x, count = self._has
        first = int(needs_x)
        of_parameters = [_copied(grad) for grad in self._found[first + count :]]
        return dx, self._factor_gradient(self._found[first : first + count]), *of_parameters

    def _factor_gradient(self, grads: Sequence[Tensor | None]) -> Tensor | None:
        """Of all scalars, from those of the vectors: summed up last first, as autograd does."""
        if not self._needs_factors:
            return None
        total = np.zeros(len(self._factors), np.float32)
        for (_, places), grad in reversed(list(zip(self._vectors, grads, strict=True))):
            if grad is not None:
                np.add.at(total, places, grad.numpy())
        return torch.from_numpy(total)


class Places:
    """Where calls, from number `first` on, have the memory of a tensor (N, C, H, W) in arguments.

    `shape`: its (N, H, W, C). `whole`: whether they have it from its beginning alone.
    """

    def __init__(self, calls: Calls, x: Tensor, first: int = 0) -> None:
        self.shape, self.whole = _rows(x), True
        self._arrays: list[tuple[int, int, tuple[int, ...]]] = []
        self._addresses: list[tuple[NDArray[np.int64], int]] = []
        begin = x.data_ptr()
        inside = range(begin + 1, begin + 4 * x.numel())
        for number in range(first, len(calls)):
            for place, argument in enumerate(calls[number][1]):
                if not isinstance(argument, np.ndarray) or argument.size == 0:
                    continue
                if argument.dtype == np.int64:
                    addresses = argument.tolist()
                    self._addresses += [
                        (argument, int(i)) for i in np.flatnonzero(argument == begin)
                    ]
                else:
                    addresses = [argument.ctypes.data]
                    if addresses[0] == begin:
                        self._arrays.append((number, place, argument.shape))
                self.whole = self.whole and not any(address in inside for address in addresses)

    def bind(self, calls: Calls, x: Tensor | None) -> None:
        """Let them have this one's there; None: no tensor's."""
        for addresses, index in self._addresses:
            addresses[index] = 0 if x is None else x.data_ptr()
        numbers = NOTHING if x is None else x.permute(0, 2, 3, 1).reshape(-1).detach().numpy()
        for number, place, shape in self._arrays:
            name, arguments = calls[number]
            array = numbers if x is None else numbers.reshape(shape)
            calls[number] = name, (*arguments[:place], array, *arguments[place + 1 :])


def _play(calls: Calls) -> None:
    loops = load_loops()
    for name, arguments in calls:
        getattr(loops, name)(*arguments)


def _copied(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.clone()


def _rows(x: Tensor) -> tuple[int, ...]:
    """(N, C, H, W) -> N, H, W, C; (N, C) as it is."""
    return tuple(x.permute(0, 2, 3, 1).shape if x.dim() == 4 else x.shape)


def _image(rows: Tensor) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W); (N, C) as it is."""
    return rows.permute(0, 3, 1, 2) if rows.dim() == 4 else rows


class _Loops:
    """The loops, whose calls a tape writes down."""

    def __init__(self, tape: Tape, loops: Any) -> None:
        self._tape, self._loops = tape, loops

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            self._tape.note(name, arguments)
            getattr(self._loops, name)(*arguments)

        return call


class _Watching(TorchDispatchMode):
    """`whole`: whether PyTorch computed nothing meanwhile but views and what is `beside`."""

    def __init__(self, beside: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._beside = beside
        self.whole = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if not func.is_view and func.name() not in self._beside:
            self.whole = False
        return func(*args, **(kwargs or {}))


@contextmanager
def _noting(tape: Tape) -> Iterator[None]:
    """Meanwhile loops are written down on the tape, which is not whole if they are not all."""
    now.tape = tape
    try:
        with _Watching(()) as watched:
            yield
    finally:
        now.tape = None
        tape.whole = tape.whole and watched.whole


class Rooms:
    """Memory that tapes share; a tensor's is used again when nobody holds that tensor."""

    def __init__(self) -> None:
        self._all: dict[int, Floats] = {}  # address -> numbers
        self._free: list[Floats] = []

    def empty(self, shape: Sequence[int]) -> Tensor:
        """A tensor of any numbers."""
        size = prod(shape)
        fits = [i for i, room in enumerate(self._free) if size <= len(room) <= WASTE * size]
        if fits:
            room = self._free.pop(min(fits, key=lambda i: len(self._free[i])))
        else:
            room = _aligned(size)
            self._all[room.ctypes.data] = room
        lent = room[:size]
        weakref.finalize(lent, self._back, room).atexit = False
        return torch.from_numpy(lent).view(*shape)

    def _back(self, room: Floats) -> None:
        self._free.append(room)

    def unowned(self, argument: Any) -> Any:
        """An argument of a loop; an array in lent memory as one that does not keep it lent."""
        if not isinstance(argument, np.ndarray):
            return argument
        room = self._all.get(argument.ctypes.data)
        if room is None or argument.dtype != np.float32 or not argument.flags.c_contiguous:
            return argument
        return room[: argument.size].reshape(argument.shape)


def _give_back() -> None:
    """Give the system what earlier passes have freed: the library of C, glibc, would keep it beside
    the memory of a tape.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _aligned(size: int) -> Floats:
    """Any numbers, which begin at a cache line."""
    out = np.empty(size + LINE, np.float32)
    skip = (-(out.ctypes.data // 4)) % LINE
    return out[skip : skip + size]


class State(NamedTuple):
    """What passes through a network depend on, beside their arguments.

    `form`: differs when passes have to be taped anew. `learning`: the parameters that want
    gradients.
    """

    form: Hashable
    learning: list[Tensor]


def _state(modules: Sequence[nn.Module]) -> State | None:
    """None: some module does more than its passes, as hooks do."""
    form: list[Hashable] = []
    learning: list[Tensor] = []
    for module in _all(modules):
        inner = module.__dict__
        if hooked(module):
            return None
        form.append(inner["training"])
        for parameter in inner["_parameters"].values():
            if parameter is not None:
                if parameter._backward_hooks:
                    return None
                form.append(parameter.data_ptr())
                form.append(parameter.requires_grad)
                if parameter.requires_grad:
                    learning.append(parameter)
        if inner["_buffers"]:
            form.extend(b.data_ptr() for b in inner["_buffers"].values() if b is not None)
            form.append((inner.get("momentum"), inner.get("eps")))
    return State(tuple(form), learning)


def hooked(module: nn.Module) -> bool:
    """Whether calling it does more than its forward."""
    inner = module.__dict__
    return any(inner[hooks] for hooks in HOOKS)


def _all(modules: Sequence[nn.Module]) -> Iterator[nn.Module]:
    """Those and all in them, as they are now."""
    waiting = [*modules]
    while waiting:
        module = waiting.pop()
        yield module
        waiting.extend(m for m in module.__dict__["_modules"].values() if m is not None)
