"""ENAS: an LSTM draws cells with shared weights and learns by REINFORCE (Pham et al., ICML 2018).

The micro search space and the controller of the authors' code (methods.md section 9): each of five
nodes takes two (source, operation) pairs, with weights of their own for the first and the second,
and the cell gives out what no node reads. Every batch trains the weights of one drawn cell; then
`arch_steps` updates of the controller follow, each on `samples` drawn cells, every one of them
scored on a validation batch of its own that is not augmented. The cell returned is the best of the
last update's. Differences, most of them because weights are trained as for all methods here:
- one cosine in place of restarts, no auxiliary head, dropout or drop path in the search, plain
  momentum unless asked for; half of the images judge cells, in place of 5,000;
- reduction cells have edges of stride 2, as in DARTS, and an input that no node reads is left out
  of the output; the authors' search halves the maps before the cell;
- the norm of the weights' gradient is clipped to 5, which the authors' code means to do but does
  not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from edarts.config import Between, SearchConfig
from edarts.errors import UsageError
from edarts.methods.oneshot.alphas import valid_loss
from edarts.methods.oneshot.base import DARTS, Batch, OneShot, Weights
from edarts.space.base import Architecture, Chosen, SearchSpace
from edarts.space.operations import parameter_free


@dataclass(frozen=True)
class Options:
    """What can be chosen of the method."""

    samples: Annotated[int, Between(1)] = 10
    """Cells drawn and scored at each update, each on a batch; the best may be returned."""


HIDDEN = 64
SOURCES = 2  # inputs of a cell
INITIAL = 0.1  # all weights begin in +- this
TANH = 1.10  # largest logit of a source
TANH_OPERATION = 1.10 / 2.5  # and of an operation
BIAS, FIXED_BIAS = 10.0, 0.25  # towards convolutions: learned; kept, in the normal cell only
ENTROPY = 1e-4  # weight of the entropy in the reward
BASELINE = 0.99  # its share that stays at every draw
EPSILON = 1e-3  # of Adam, added to the root of the second moment before that is corrected
SECOND_MOMENT = 0.999


class CellController(nn.Module):
    """Draws the cells of `groups` kinds, decision by decision: two sources, two operations a
    node.
    """

    def __init__(self, nodes: int, operations: Sequence[str], groups: int = 2) -> None:
        super().__init__()
        self.nodes, self.groups = nodes, groups
        self.lstm = nn.LSTMCell(HIDDEN, HIDDEN, bias=False)
        self.start = nn.Parameter(torch.empty(1, HIDDEN))
        self.embedding = nn.Parameter(torch.empty(len(operations), HIDDEN))
        self.operation = nn.Parameter(torch.empty(HIDDEN, len(operations)))
        self.key, self.query = (nn.Parameter(torch.empty(HIDDEN, HIDDEN)) for _ in range(2))
        self.score = nn.Parameter(torch.empty(HIDDEN))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -INITIAL, INITIAL)
        convolves = torch.tensor([float(not parameter_free(name)) for name in operations])
        self.bias = nn.Parameter(BIAS * convolves)
        self.fixed_bias = FIXED_BIAS * (2 * convolves - 1)

    def forward(
        self, count: int = 1, forced: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw `count` times: decisions (B, D), log of their probability (B,), entropy (B,).

        The D decisions are those of the normal cell, then of the reduction cell; for each node
        source, source, operation, operation. The entropy is the sum over decisions. Drawn from
        torch's generator, or `forced`, (B, D).
        """
        batch = count if forced is None else len(forced)
        decisions = _Decisions(forced)
        state = None
        for group in range(self.groups):
            bias = self.fixed_bias if group == 0 else torch.zeros_like(self.fixed_bias)
            state = self._cell(batch, state, bias, decisions)
        taken, log, spread = (
            torch.stack(part, dim=1) for part in (decisions.taken, decisions.log, decisions.spread)
        )
        return taken, log.sum(dim=1), spread.sum(dim=1)

    def _cell(
        self,
        batch: int,
        state: tuple[Tensor, Tensor] | None,
        bias: Tensor,
        decisions: "_Decisions",
    ) -> tuple[Tensor, Tensor]:
        start = self.start.expand(batch, -1)
        every = torch.arange(batch)
        anchors, keys = [], []  # of each node: what the next step reads; what a query looks for
        for _ in range(SOURCES):
            state = self.lstm(start, state)
            anchors.append(torch.zeros_like(start))
            keys.append(state[0] @ self.key)
        for _ in range(self.nodes):
            x = start
            for _ in range(2):
                state = self.lstm(x, state)
                query = (state[0] @ self.query)[:, None]
                look = torch.tanh(torch.stack(keys, dim=1) + query)  # (B, sources, HIDDEN)
                place = decisions.take(TANH * torch.tanh(look @ self.score))
                x = torch.stack(anchors, dim=1)[every, place]
            for _ in range(2):
                state = self.lstm(x, state)
                logits = state[0] @ self.operation + self.bias
                x = self.embedding[decisions.take(TANH_OPERATION * torch.tanh(logits) + bias)]
            state = self.lstm(x, state)
            anchors.append(state[0])
            keys.append(state[0] @ self.key)
        assert state is not None
        return state


class _Decisions:
    """What was taken, with the logarithm of its probability and the entropy of each choice."""

    def __init__(self, forced: Tensor | None) -> None:
        self.forced = forced
        self.taken: list[Tensor] = []
        self.log: list[Tensor] = []
        self.spread: list[Tensor] = []

    def take(self, logits: Tensor) -> Tensor:
        """(B, n) logits -> one option (B,) of each row."""
        log = logits.log_softmax(dim=-1)
        p = log.detach().exp()
        if self.forced is None:
            place = torch.multinomial(p, 1)[:, 0]
        else:
            place = self.forced[:, len(self.taken)]
        self.taken.append(place)
        self.log.append(log.gather(1, place[:, None])[:, 0])
        self.spread.append(-(p * log.detach()).sum(dim=-1))
        return place


class ENAS(OneShot):
    """Weights are ones for what a drawn cell takes, each pair of a node in rows of its own.

    The controller lives on the CPU, so that it draws alike for every device.
    """

    Options: ClassVar[type] = Options
    SPACE: ClassVar[str] = "enas"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        name: value for name, value in DARTS.items() if name not in ("attention", "topology")
    } | {
        "epochs": 150,
        "batch_size": 160,
        "channels": 20,
        "operations": "sep_conv_3x3,sep_conv_5x5,avg_pool_3x3,max_pool_3x3,skip_connect",
        "arch_update": "epoch",
        "arch_steps": 30,
        "arch_lr": 0.0035,
        "arch_weight_decay": 0.0,
        "lr": 0.05,
        "lr_min": 0.0005,
        "weight_decay": 2e-4,
    }
    PAPER: ClassVar[Mapping[str, Any]] = {"nesterov": True}
    REASONS: ClassVar[Mapping[str, str]] = {
        "attention": "its controller begins with biases of its own towards convolutions"
    }

    def __init__(self, space: SearchSpace, config: SearchConfig, device: torch.device) -> None:
        super().__init__(space, config, device)
        if space.relaxable:
            raise UsageError("enas chooses every source itself: it needs --space enas")
        operations = space.candidates(space.groups[0])
        if "none" in operations:
            raise UsageError("enas builds whole cells: leave out operation 'none'")
        self.samples: int = config.options.samples
        nodes = len(space.incoming(space.groups[0]))
        self.controller = CellController(nodes, operations, len(space.groups))
        self.optimizer = torch.optim.Adam(
            self.controller.parameters(),
            lr=config.arch_lr,
            betas=(0.0, SECOND_MOMENT),
            weight_decay=config.arch_weight_decay,
        )
        self.baseline = 0.0
        self.best = self.draw()

    @property
    def valid_batches(self) -> int:
        """One for each drawn cell."""
        return self.samples

    @property
    def augments_valid(self) -> bool:
        return False

    def draw(self) -> list[int]:
        """The decisions of a cell of the controller's."""
        with torch.no_grad():
            drawn: list[int] = self.controller()[0][0].tolist()
        return drawn

    def weights(self, training: bool) -> Weights:
        """(E, K): in training a newly drawn cell's, else the best one's."""
        return self._weights_of(self.draw() if training else self.best)

    def _weights_of(self, decisions: Sequence[int]) -> Weights:
        weights = {}
        for group, pairs in chosen(self.space, decisions).items():
            weights[group] = torch.zeros(self.space.shape(group))
            weights[group][tuple(zip(*pairs, strict=True))] = 1
        return {group: w.to(self.device) for group, w in weights.items()}

    def arch_step(
        self,
        net: nn.Module,
        train_batch: Batch,
        valid_batch: Batch,
        weight_optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """One update of the controller; returns the averages over the drawn cells."""
        decisions, log_probability, entropy = self.controller(self.samples)
        results, advantages = [], []
        batches = zip(*(part.tensor_split(self.samples) for part in valid_batch), strict=True)
        for row, spread, batch in zip(decisions.tolist(), entropy.tolist(), batches, strict=True):
            with torch.no_grad():
                _, metrics = valid_loss(net, self._weights_of(row), batch)
            reward = metrics["valid_accuracy"] + ENTROPY * spread
            self.baseline += (1 - BASELINE) * (reward - self.baseline)
            advantages.append(reward - self.baseline)
            results.append((metrics["valid_accuracy"], row, metrics))
        self.best = max(results, key=lambda result: result[0])[1]
        self.optimizer.zero_grad()
        reinforce(log_probability, torch.tensor(advantages)).backward()
        self._step()
        return {
            name: sum(metrics[name] for *_, metrics in results) / len(results)
            for name in results[0][2]
        }

    def _step(self) -> None:
        """Adam's, with its epsilon where TensorFlow has it: see `epsilon`."""
        state = self.optimizer.state.get(self.controller.start, {})
        self.optimizer.param_groups[0]["eps"] = epsilon(int(state.get("step", 0)) + 1)
        self.optimizer.step()

    def architecture(self) -> Architecture:
        """The best on its validation batch among the cells of the last update."""
        return cells(self.space, self.best)

    def state_dict(self) -> dict[str, Any]:
        return {
            "controller": self.controller.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "baseline": self.baseline,
            "best": self.best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.controller.load_state_dict(state["controller"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.baseline = state["baseline"]
        self.best = list(state["best"])


def reinforce(log_probability: Tensor, advantage: Tensor) -> Tensor:
    """The loss (B,), (B,) -> () whose gradient estimates that of -E[reward] (Williams 1992).

    `advantage`: each draw's reward less the baseline.
    """
    return -(log_probability * advantage).mean()


def epsilon(step: int) -> float:
    """The epsilon of torch's Adam that makes step 1, 2, ... that of TensorFlow's, with 1e-3.

    TensorFlow adds it to the root of the uncorrected second moment, torch to the corrected one's.
    """
    return float(EPSILON / (1 - SECOND_MOMENT**step) ** 0.5)


def chosen(space: SearchSpace, decisions: Sequence[int]) -> Chosen:
    """The rows and columns of the controller's decisions, the first pair's of a node before the
    second's.
    """
    rest = iter(decisions)
    found: dict[str, list[tuple[int, int]]] = {}
    for group in space.groups:
        found[group] = []
        for rows in space.incoming(group).values():
            first, second, *operations = (next(rest) for _ in range(4))
            taken = rows[first], rows[len(rows) // 2 + second]
            found[group] += zip(taken, operations, strict=True)
    return found


def cells(space: SearchSpace, decisions: Sequence[int]) -> Architecture:
    """The architecture of the controller's decisions."""
    return space.derive(chosen(space, decisions))


PLUGIN = ENAS
