"""The source text of a network in plain PyTorch: classes, and the calls that build its modules.

What is written is what was built: the tree of modules is walked, not the rules by which an
architecture becomes one. A module of torch.nn is made again by its constructor, whose arguments are
attributes of the same name; one of ours by its twin of plain.py; and the graph of a cell becomes
the `forward` of a class, one for all cells that share it.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import nn

from edarts.errors import UsageError
from edarts.exports import plain
from edarts.nn import cells, trees, whole
from edarts.nn import operations as ops
from edarts.nn.baselines import convnet, densenet_bc, linear, mobilenetv2, resnet
from edarts.nn.mirrored import Mirrored
from edarts.nn.network import Network
from edarts.nn.whitening import Whitening

IMPORTS = {
    "from collections.abc import": ("Mapping", "Sequence"),
    "import": ("torch",),
    "from torch import": ("Tensor", "nn"),
    "from torch.nn import": ("functional",),
}
WIDTH = 100  # columns of a line
LEFT_OUT = ("self", "args", "kwargs", "device", "dtype")  # of what constructors of torch.nn take


class Call(NamedTuple):
    """What makes a module: a class of plain.py or like it, or the name of one; and its arguments,
    which are literals, modules, or lists and dictionaries of them.
    """

    of: type | str
    values: Sequence[Any] = ()
    named: Mapping[str, Any] = {}


def source_of(network: nn.Module) -> str:
    """Classes, and a function `build` that makes the network.

    Raises UsageError that names a class which has no plain form.
    """
    writer = _Writer()
    made = writer.text(network, 4, len("return "))
    kind = made.partition("(")[0]
    build = f'def build() -> {kind}:\n    """The network, before its weights are loaded."""\n'
    classes = "\n\n".join(writer.classes.values())
    return f"{_imports(classes)}\n\n\n{classes}\n\n{build}    return {made}\n"


def _imports(text: str) -> str:
    """The lines that import what the text names."""
    words = set(re.findall(r"\w+", text))
    needed = {line: [n for n in names if n in words] for line, names in IMPORTS.items()}
    lines = [f"{line} {', '.join(names)}" for line, names in needed.items() if names]
    return "\n".join(lines).replace("\nimport torch", "\n\nimport torch")


@dataclass
class _Writer:
    """Text of modules; `classes`: those that it names, name -> text, each after what it needs."""

    classes: dict[str, str] = field(default_factory=dict)
    _graphs: dict[str, str] = field(default_factory=dict)  # of a cell -> the name of its class

    def text(self, value: Any, indent: int, before: int = 0) -> str:
        """A value as source, on one line if that fits in behind `indent` and `before` columns."""
        while isinstance(value, nn.Module) and not isinstance(value, nn.ModuleList | nn.ModuleDict):
            value = self.call(value)
        if isinstance(value, Call):
            ends, items = (f"{self._name(value.of)}(", ")"), [("", v) for v in value.values]
            items += [(f"{name}=", v) for name, v in value.named.items()]
        elif isinstance(value, Mapping | nn.ModuleDict):
            ends, items = ("{", "}"), [(f'"{name}": ', v) for name, v in value.items()]
        elif isinstance(value, list | nn.ModuleList):
            ends, items = ("[", "]"), [("", v) for v in value]
        else:
            return repr(value)
        parts = [key + self.text(v, indent + 4, len(key)) for key, v in items]
        line = f"{ends[0]}{', '.join(parts)}{ends[1]}"
        if "\n" not in line and indent + before + len(line) < WIDTH:
            return line
        inner = " " * (indent + 4)
        return "\n".join([ends[0], *(f"{inner}{part}," for part in parts), " " * indent + ends[1]])

    def call(self, module: nn.Module) -> Call | nn.Module:
        """What makes the module again; or another module that does the same."""
        if isinstance(module, cells.Cell):
            fit = {"fit": module.fit} if module.fit else {}
            operations = [_operation(operation) for operation in module.operations]
            held = {"preprocess": module.preprocess, "operations": operations}
            return Call(self._cell(module), named=held | fit)
        if type(module) in TWINS:
            return TWINS[type(module)](module)
        if _has_usual_head(module):
            return _by_name(plain.PooledNetwork, module, "features", "norm", "classifier")
        return _of_torch(module)

    def _name(self, of: type | str) -> str:
        if isinstance(of, str):
            return of
        self._need(of)
        return of.__name__

    def _need(self, kind: type) -> None:
        """Take in the text of a class, and before it those that it names."""
        if kind.__name__ in self.classes:
            return
        text = inspect.getsource(kind)
        for name in re.findall(r"\w+", text):
            other = getattr(plain, name, None)
            if isinstance(other, type) and other.__module__ == plain.__name__ and other is not kind:
                self._need(other)
        self.classes[kind.__name__] = text

    def _cell(self, cell: cells.Cell) -> str:
        """The name of the class that has the cell's graph."""
        self._need(plain.Cell)
        graph = "\n".join(_graph(cell))
        if graph not in self._graphs:
            name = "ReductionCell" if cell.reduces else "NormalCell"
            same = sum(other.startswith(name) for other in self._graphs.values())
            self._graphs[graph] = name = f"{name}{same + 1}" if same else name
            self.classes[name] = f"class {name}(Cell):\n{graph}\n"
        return self._graphs[graph]


def _graph(cell: cells.Cell) -> Iterator[str]:
    """The docstring and the `forward` of a cell's class, line by line."""
    half = ", half the height and width" if cell.reduces else ""
    nodes = ", ".join(map(str, cell.concat))
    yield f'    """Inputs 0 and 1 -> nodes {nodes}{half}."""'
    yield ""
    yield "    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:"
    yield "        s0, s1 = self.preprocess[0](s0), self.preprocess[1](s1)"
    yield "        operation = self.operations"
    for node, incoming in cell.incoming.items():
        terms = [(cell.slots[index], cell.edges[index]) for index in incoming]
        found = [
            f"operation[{slot}](s{edge.source})  # {edge.operation}"
            for slot, edge in terms
            if slot is not None
        ]
        if not found:
            yield f"        s{node} = 0 * s1{'[:, :, ::2, ::2]' if cell.reduces else ''}  # nothing"
        elif len(found) == 1:
            yield f"        s{node} = {found[0]}"
        else:
            yield f"        s{node} = ("
            yield from (f"            {'+ ' if n else ''}{term}" for n, term in enumerate(found))
            yield "        )"
    for name in cell.fit:
        yield f'        s{name} = self.fit["{name}"](s{name})'
    yield f"        return torch.cat([{', '.join(f's{node}' for node in cell.concat)}], dim=1)"


def _operation(operation: nn.Module) -> nn.Module | Call:
    """An operation of a cell, with the ReLU that the cell computes before it."""
    relu = getattr(operation, "reads_relu", False) and not isinstance(operation, ops.Normed)
    if not relu:
        return operation
    if not _is_chain(operation):
        raise _no_plain_form(operation)
    return Call(plain.Convolutions, list(operation.children()))


def _has_usual_head(module: nn.Module) -> Any:
    kind: Any = type(module)
    usual = whole.WholeNetwork
    return (
        isinstance(module, usual) and kind.logits is usual.logits and kind.forward is usual.forward
    )


def _is_chain(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _of_torch(module: nn.Module) -> Call:
    """The call of a module of torch.nn; arguments that are the default are left out."""
    if _is_chain(module):
        return Call("nn.Sequential", list(module.children()))
    kind: Any = next(k for k in type(module).__mro__ if k.__module__.startswith("torch.nn."))
    if type(module).forward is not kind.forward or kind is nn.Module:
        raise _no_plain_form(module)
    return _constructor(kind, module)


def _constructor(kind: type, module: nn.Module) -> Call:
    values, named = [], {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in LEFT_OUT:
            continue
        if not hasattr(module, name):
            raise _no_plain_form(module)
        value = getattr(module, name)
        value = value is not None if name == "bias" else _short(value)
        if parameter.default is parameter.empty:
            values.append(value)
        elif value != parameter.default:
            named[name] = value
    return Call(f"nn.{kind.__name__}", values, named)


def _short(value: Any) -> Any:
    """One number for a tuple of two that are equal."""
    two = isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]
    return value[0] if two else value


def _no_plain_form(module: nn.Module) -> UsageError:
    return UsageError(
        f"{type(module).__name__} has no form in plain PyTorch here: give --format onnx or torch"
    )


# -- our modules and their plain twins ------------------------------------------------------------


def _by_name(kind: type, module: nn.Module, *names: str, **others: Any) -> Call:
    """The call whose arguments are attributes of the module, and others."""
    return Call(kind, named={name: getattr(module, name) for name in names} | others)


def _separable(module: Any) -> tuple[Any, dict[str, int]]:
    """Channels before and after, and kernel; stride and dilation where they are not one."""
    first = module.first if isinstance(module, ops.SepConv) else module
    wide, narrow = first.depthwise, first.pointwise
    named = {"stride": wide.stride[0], "dilation": wide.dilation[0]}
    shape = wide.in_channels, narrow.out_channels, wide.kernel_size[0]
    return shape, {name: value for name, value in named.items() if value != 1}


def _pooling(module: ops.Pooling) -> Call | nn.Module:
    bare = isinstance(module.norm, nn.Identity)
    return module.pool if bare else Call(plain.Pooling, (module.pool, module.norm))


def _residual(module: Any) -> Call:
    norm = module.layers[-1]
    first = module.layers[0]
    (wide,) = (m for m in module.layers if isinstance(m, nn.Conv2d) and m.groups > 1)
    expansion = wide.out_channels // first.in_channels
    return Call(type(module), (first.in_channels, norm.num_features, wide.stride[0], expansion))


def _tree(module: Any) -> Call:
    narrow, grouped = module.before[1], module.before[4]
    shape = narrow.in_channels, narrow.out_channels, grouped.stride[0]
    return Call(plain.TreeBlock, (*shape, module.tree.branches))


Twin = Callable[[Any], Call | nn.Module]
TWINS: dict[type, Twin] = {
    plain.Classifier: lambda m: _by_name(
        plain.Classifier, m, "network", "mean", "std", "temperature"
    ),
    Mirrored: lambda m: Call(Mirrored, (m.network,)),
    Network: lambda m: _by_name(
        plain.CellNetwork, m, "stem", "cells", "classifier", last_relu=m.preprocessing != "darts"
    ),
    Whitening: lambda m: Call(
        plain.Whitening, (m.in_channels, m.out_channels), {"shrink": m.shrink}
    ),
    cells.ReLUConvBN: lambda m: Call(
        plain.ReLUConvBN, (m.pointwise.in_channels, m.pointwise.out_channels)
    ),
    ops.Depthwise: lambda m: _constructor(nn.Conv2d, m),
    ops.Pointwise: lambda m: _constructor(nn.Conv2d, m),
    ops.MaxPool: lambda m: Call(
        "nn.MaxPool2d", (m.kernel,), {"stride": m.stride, "padding": m.kernel // 2}
    ),
    ops.AveragePool: lambda m: Call(
        "nn.AvgPool2d",
        (m.kernel,),
        {"stride": m.stride, "padding": m.kernel // 2, "count_include_pad": False},
    ),
    ops.Identity: lambda m: Call("nn.Identity"),
    ops.DilConv: lambda m: Call(plain.DilConv, *_separable(m)),
    ops.SepConv: lambda m: Call(plain.SepConv, *_separable(m)),
    ops.Pooling: _pooling,
    ops.FactorizedReduce: lambda m: Call(
        plain.FactorizedReduce, (m.here.in_channels, m.norm.num_features)
    ),
    convnet.ConvNetwork: lambda m: _by_name(
        plain.ConvNetwork, m, "whiten", "features", "classifier", scale=convnet.SCALE
    ),
    linear.LinearNetwork: lambda m: Call(plain.LinearNetwork, (m.classifier,)),
    densenet_bc.DenseLayer: lambda m: Call(
        plain.DenseLayer, (m.layers[2].in_channels, m.layers[5].out_channels)
    ),
    resnet.Block: lambda m: Call(
        resnet.Block, (m.layers[0].in_channels, m.layers[0].out_channels, m.stride)
    ),
    mobilenetv2.InvertedResidual: _residual,
    trees.TreeBlock: _tree,
    trees.Child: lambda m: Call(plain.Child, (m.operations,)),
    trees.Separable: lambda m: Call(
        plain.Separable, (m[3].out_channels, m[2].kernel_size[0], m[2].dilation[0])
    ),
}
"""Of each of our modules what makes its twin, with parameters of the same names."""
