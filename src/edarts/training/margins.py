"""Which training labels a network disbelieves: the area under the margin."""

import torch
from torch import Tensor

from edarts.training import distributed


class Margins:
    """The mean over a training of each image's margin: the logit of its label minus the largest
    other one (Pleiss et al., NeurIPS 2020).

    A wrong label is learned late, against what all other images teach, so its mean is low, though
    in the end the network may have learned it by heart. `rows`: (n,) where the images that are
    trained on lie in the data.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.sums = torch.zeros(len(rows), 2)  # of the margins; how many there were

    def add(self, places: Tensor, logits: Tensor, labels: Tensor) -> None:
        """A step of the images at `places` (B,), of which this process has logits and labels."""
        z = logits.detach().float()
        chosen = z.gather(1, labels[:, None])
        others = z.scatter(1, labels[:, None], -torch.inf).amax(dim=1, keepdim=True)
        mine = torch.cat([chosen - others, torch.ones_like(chosen)], dim=1)
        every = distributed.gathered(mine, len(places))
        self.sums.index_add_(0, places.cpu(), every.cpu())

    def of(self, images: int) -> Tensor:
        """(images,) float32: of each image of the data; NaN for one that was never seen."""
        found = torch.full((images,), torch.nan)
        found[self.rows] = self.sums[:, 0] / self.sums[:, 1]
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {"sums": self.sums}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        self.sums = state["sums"].clone()
