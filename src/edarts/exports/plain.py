"""The parts of our networks in plain PyTorch, as a textbook writes them: no compiled loops.

The format `python` copies out of this file the classes that a network needs, with what their
docstrings say, so a reader without this library sees the whole network. Names of parameters are
those of the networks that are trained. `Classifier` surrounds a network in every format.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Classifier(nn.Module):
    """uint8 images (N, H, W, C) -> the probabilities of the classes (N, K).

    `mean`, `std`: of each channel of the training images, of pixels scaled to 0..1. `temperature`:
    what logits are divided by, so that confidence comes to equal accuracy.
    """

    def __init__(
        self, network: nn.Module, mean: Sequence[float], std: Sequence[float], temperature: float
    ) -> None:
        super().__init__()
        self.network = network
        self.mean = mean
        self.std = std
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        mean = torch.tensor(self.mean, device=images.device)
        std = torch.tensor(self.std, device=images.device)
        x = (images.float() / (255 * std) - mean / std).permute(0, 3, 1, 2)
        logits: Tensor = self.network(x)
        return (logits / self.temperature).softmax(dim=1)


# -- networks of cells ---------------------------------------------------------------------------


class CellNetwork(nn.Module):
    """Stem, cells that each read the two before them, mean of every map, linear.

    `last_relu`: whether a ReLU stands before the mean.
    """

    def __init__(
        self, stem: nn.Module, cells: Sequence[nn.Module], classifier: nn.Module, last_relu: bool
    ) -> None:
        super().__init__()
        self.stem = stem
        self.cells = nn.ModuleList(cells)
        self.classifier = classifier
        self.last_relu = last_relu

    def forward(self, x: Tensor) -> Tensor:
        s0 = s1 = self.stem(x)
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1)
        if self.last_relu:
            s1 = torch.relu(s1)
        logits: Tensor = self.classifier(s1.mean(dim=(2, 3)))
        return logits


class Cell(nn.Module):
    """What all cells hold; their `forward` is the graph that the search has found.

    `preprocess`: brings the two inputs to the cell's width. `operations`: one for each edge. `fit`:
    brings inputs that go straight to the output to its shape, by their number.
    """

    def __init__(
        self,
        preprocess: Sequence[nn.Module],
        operations: Sequence[nn.Module],
        fit: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.preprocess = nn.ModuleList(preprocess)
        self.operations = nn.ModuleList(operations)
        self.fit = nn.ModuleDict(fit)


class ReLUConvBN(nn.Module):
    """ReLU, 1 x 1 convolution, norm."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.pointwise(torch.relu(x)))
        return y


class FactorizedReduce(nn.Module):
    """Half the height and width: ReLU, 1 x 1 convolutions of the pixels in even rows and columns
    and of those in odd ones, side by side, norm.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.here = nn.Conv2d(channels_in, half, 1, stride=2, bias=False)
        self.shifted = nn.Conv2d(channels_in, channels - half, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = functional.pad(torch.relu(x), (0, width % 2, 0, height % 2))
        y: Tensor = self.norm(torch.cat([self.here(x), self.shifted(x[:, :, 1:, 1:])], dim=1))
        return y


class DilConv(nn.Module):
    """ReLU, k x k convolution of each channel alone, 1 x 1 convolution, norm."""

    def __init__(
        self, channels_in: int, channels: int, kernel: int, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        c = channels_in
        self.depthwise = nn.Conv2d(c, c, kernel, stride, padding, dilation, groups=c, bias=False)
        self.pointwise = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.pointwise(self.depthwise(torch.relu(x))))
        return y


class SepConv(nn.Module):
    """`DilConv` twice; the stride is the first one's."""

    def __init__(
        self, channels_in: int, channels: int, kernel: int, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.first = DilConv(channels_in, channels, kernel, stride, dilation)
        self.second = DilConv(channels, channels, kernel, 1, dilation)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return y


class Pooling(nn.Module):
    """A pool, and what brings it to the width of the cell."""

    def __init__(self, pool: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.pool = pool
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.pool(x))
        return y


class Convolutions(nn.Sequential):
    """A ReLU, then layers one after the other."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        for layer in self:
            x = layer(x)
        return x


class Whitening(nn.Conv2d):
    """A 2 x 2 convolution, of an image that is first averaged over squares of `shrink` pixels."""

    def __init__(self, channels_in: int, channels: int, shrink: int) -> None:
        super().__init__(channels_in, channels, 2)
        self.shrink = shrink

    def forward(self, x: Tensor) -> Tensor:
        if self.shrink > 1:
            x = functional.avg_pool2d(x, self.shrink)
        height, width = x.shape[2:]
        return super().forward(functional.pad(x, (0, int(width < 2), 0, int(height < 2))))


# -- whole networks ------------------------------------------------------------------------------


class PooledNetwork(nn.Module):
    """Features, norm, ReLU, mean of every map, linear."""

    def __init__(self, features: nn.Module, norm: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.norm = norm
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.relu(self.norm(self.features(x)))
        logits: Tensor = self.classifier(maps.mean(dim=(2, 3)))
        return logits


class ConvNetwork(nn.Module):
    """Whitening, blocks of convolutions, maximum of every map, linear, times `scale`."""

    def __init__(
        self, whiten: nn.Module, features: nn.Module, classifier: nn.Module, scale: float
    ) -> None:
        super().__init__()
        self.whiten = whiten
        self.features = features
        self.classifier = classifier
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        maps = self.features(self.whiten(x))
        logits: Tensor = self.classifier(maps.amax(dim=(2, 3)))
        return logits * self.scale


class LinearNetwork(nn.Module):
    """One weight for each value of a pixel and class."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


class DenseLayer(nn.Module):
    """Norm, ReLU, 1 x 1 to 4 k channels, norm, ReLU, 3 x 3 to k = `growth`, beside the input."""

    def __init__(self, channels_in: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.ReLU(),
            nn.Conv2d(channels_in, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], dim=1)


class TreeBlock(nn.Module):
    """Residual block of w = `width`: norm, 1 x 1 to w; norm, ReLU, 3 x 3 in two groups to 2 w,
    shuffle; tree; norm, ReLU, 1 x 1 to 4 w; norm. New channels of the shortcut are zero.
    """

    def __init__(
        self, channels_in: int, width: int, stride: int, children: Sequence[nn.Module]
    ) -> None:
        super().__init__()
        self.missing = 4 * width - channels_in
        self.shortcut = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.before = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride, padding=1, groups=2, bias=False),
            nn.ChannelShuffle(2),
        )
        self.tree = Tree(width, children)
        self.after = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1, bias=False),
            nn.BatchNorm2d(4 * width),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.after(self.tree(self.before(x)))
        return y + functional.pad(self.shortcut(x), (0, 0, 0, 0, 0, self.missing))


class Tree(nn.Module):
    """The sum over both halves of the channels of half + norm(the half's two children)."""

    def __init__(self, width: int, children: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(children)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width), nn.BatchNorm2d(width)])

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        one, two, three, four = self.branches
        y: Tensor = a + self.norms[0](one(a) + two(a)) + b + self.norms[1](three(b) + four(b))
        return y


class Child(nn.Module):
    """Edge, then the sum of two leaves that read it."""

    def __init__(self, operations: Sequence[nn.Module]) -> None:
        super().__init__()
        self.operations = nn.ModuleList(operations)

    def forward(self, x: Tensor) -> Tensor:
        edge, leaf1, leaf2 = self.operations
        x = edge(x)
        y: Tensor = leaf1(x) + leaf2(x)
        return y


class Separable(nn.Sequential):
    """Norm, ReLU, k x k convolution of each channel alone, 1 x 1 convolution."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        c, padding = channels, dilation * (kernel - 1) // 2
        super().__init__(
            nn.BatchNorm2d(c),
            nn.ReLU(),
            nn.Conv2d(c, c, kernel, 1, padding, dilation, groups=c, bias=False),
            nn.Conv2d(c, c, 1, bias=False),
        )
