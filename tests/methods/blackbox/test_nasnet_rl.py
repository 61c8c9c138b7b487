"""PPO's objective, and a controller that the ledger alone describes."""

import optuna
import pytest
import torch

from edarts import DartsSpace
from edarts.methods.blackbox import nasnet_rl
from edarts.methods.blackbox.ledger import suggest
from methods.blackbox.planted import planted


def test_ppo_is_the_clipped_objective() -> None:
    """Against Schulman et al.'s figure 1, case by case: ratio, advantage -> objective."""
    cases = [
        (1.5, 2.0, 2.4),
        (0.5, 2.0, 1.0),
        (1.5, -2.0, -3.0),
        (0.5, -2.0, -1.6),
        (1.1, 1.0, 1.1),
    ]
    for ratio, advantage, objective in cases:
        old = torch.tensor([-3.0])
        loss = nasnet_rl.ppo(old + torch.tensor(ratio).log(), old, torch.tensor([advantage]))
        assert float(loss) == pytest.approx(-objective, rel=1e-5)


def test_its_gradient_vanishes_where_it_is_clipped() -> None:
    for ratio, advantage, flat in ((1.5, 1.0, True), (1.5, -1.0, False), (0.5, -1.0, True)):
        log = torch.tensor([ratio]).log().requires_grad_()
        nasnet_rl.ppo(log, torch.zeros(1), torch.tensor([advantage])).backward()
        assert log.grad is not None
        assert (float(log.grad) == 0) == flat


@pytest.mark.parametrize("far", [-1e4, -100.0, 100.0, 1e4])
@pytest.mark.parametrize("advantage", [-1.0, 0.0, 1.0])
def test_what_became_far_more_probable_leaves_numbers(far: float, advantage: float) -> None:
    """e^100 is infinite, and infinity times no advantage is none: all weights became NaN."""
    log = torch.tensor([far], requires_grad=True)
    loss = nasnet_rl.ppo(log, torch.zeros(1), torch.tensor([advantage]))
    loss.backward()
    assert log.grad is not None
    assert bool(loss.isfinite()) and bool(log.grad.isfinite().all())


def test_drawn_and_forced_probabilities_agree() -> None:
    """The softmaxes' product, option by option; closed options take no probability."""
    torch.manual_seed(0)
    controller = nasnet_rl.DecisionController([2, 3])
    every = torch.tensor([[a, b] for a in range(2) for b in range(3)])
    log, entropy = controller(every)
    assert log.exp().sum().item() == pytest.approx(1, abs=1e-6)
    assert bool((entropy > 0).all())
    taken, total = controller.draw(torch.Generator().manual_seed(0))
    assert total == pytest.approx(controller(torch.tensor([taken]))[0].item(), abs=1e-6)


def test_the_ledger_alone_gives_the_controller() -> None:
    space = DartsSpace.parse("skip_connect,sep_conv_3x3", "7")
    sampler = nasnet_rl.PLUGIN(space)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    study.optimize(lambda trial: planted(suggest(space, trial)), n_trials=45)
    warm, cold = sampler.learner(study), nasnet_rl.PLUGIN(space).learner(study)
    assert len(cold.seen) == 40 and warm.seen == cold.seen
    for a, b in zip(warm.controller.parameters(), cold.controller.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_batch_of_twenty_teaches_once_and_the_baseline_moves_with_every_score() -> None:
    """The rule: nothing is learned from fewer; the baseline keeps 0.95 of itself."""
    space = DartsSpace.parse("skip_connect,sep_conv_3x3", "7")
    sampler = nasnet_rl.PLUGIN(space)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    untaught = [p.detach().clone() for p in sampler.learner(study).controller.parameters()]
    for count, batches in ((19, 0), (1, 1), (19, 1), (1, 2)):
        study.optimize(lambda trial: planted(suggest(space, trial)), n_trials=count)
        learner = sampler.learner(study)
        assert len(learner.seen) == 20 * batches
        same = zip(untaught, learner.controller.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in same) == (batches == 0)
    scores = [trial.value or 0.0 for trial in study.trials]
    baseline = sum(scores[:20]) / 20
    for score in scores:
        baseline = 0.95 * baseline + 0.05 * score
    assert learner.baseline == pytest.approx(baseline, abs=1e-12)
