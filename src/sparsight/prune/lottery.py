"""Lottery tickets: small networks found inside a large one, with the weights it began with.

Frankle and Carbin 2019, The Lottery Ticket Hypothesis: train, remove the smallest weights, put the others
back to where they began, and again. Frankle et al. 2020, Linear Mode Connectivity and the Lottery Ticket
Hypothesis: put them back to where they were after a few steps instead, which larger networks need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.prune.selection import unwrapped
from sparsight.prune.sparsifier import Sparsifier


@dataclass(frozen=True)
class Ticket:
    """What one round found.

    Attributes:
        round: counted from 1.
        sparsity: fraction of the weights of the chosen layers that are masked.
        masks: layer name → bool, shaped like its weight, False where it is zero.
        weights: the model's whole state dict to train from: as saved where kept, zero where masked.
    """

    round: int
    sparsity: float
    masks: dict[str, Tensor]
    weights: dict[str, Tensor]


class LotteryTicket:
    """Iterative pruning with rewinding: rounds of training, pruning and going back to the saved weights.

    In one call, where ``train`` trains the model as it is with a new optimiser::

        lottery = LotteryTicket(model, 0.9, rounds=5)
        for ticket in lottery.draw(train, checkpoint="lottery.pt"):
            print(ticket.round, ticket.sparsity)
        train(model)

    or step by step: train, ``prune()``, train, ``prune()``, ... Masks hold during the training by themselves
    (see ``Sparsifier``). Round k of n removes up to 1 − (1 − s)^(k/n): the same share of what is left each
    time. What the criterion gathers is summed over all rounds.

    Args:
        model: what is trained; its weights now are the ones to rewind to, until ``save`` is called.
        sparsity: after the last round, in [0, 1).
        rounds: how many, from 1.
        options: criterion, granularity, scope, layers, ... as for ``Sparsifier``.

    Raises:
        SparsightError: as ``Sparsifier`` does, or no rounds.
    """

    def __init__(self, model: nn.Module, sparsity: float, *, rounds: int = 5, **options: Any) -> None:
        if rounds < 1:
            raise SparsightError(f"a lottery has at least one round, not {rounds}.")
        self._model = unwrapped(model)
        self._sparsity = sparsity
        self._rounds = rounds
        self._sparsifier = Sparsifier(model, sparsity, **options)
        self.round = 0
        self.save()

    def save(self) -> None:
        """Take the model's weights and buffers now as those to rewind to: to be called at step k, if at all.

        Raises:
            SparsightError: a round is over already; its ticket had other weights.
        """
        if self.round:
            raise SparsightError(
                f"the weights to rewind to cannot change after round {self.round}: save() before the first "
                "prune(), or reset() first."
            )
        self._saved = {name: value.detach().clone() for name, value in self._model.state_dict().items()}

    def prune(self) -> Ticket:
        """End a round: choose masks by the trained weights, then rewind.

        Raises:
            SparsightError: all rounds are over, or the weights are NaN.
        """
        if self.round == self._rounds:
            raise SparsightError(f"all {self._rounds} rounds of the lottery are over.")
        self._sparsifier.mask(1 - (1 - self._sparsity) ** ((self.round + 1) / self._rounds))
        self.round += 1
        self.rewind()
        return self._ticket()

    def rewind(self) -> None:
        """Put the weights back to the saved ones where they are kept; masked ones are zero."""
        self._model.load_state_dict(self._saved)
        self._sparsifier.apply(self._model)

    def reset(self) -> None:
        """Put all weights back to the saved ones and start again from round 0, nothing masked."""
        self._model.load_state_dict(self._saved)
        self._sparsifier.mask(0.0)
        self.round = 0

    def draw(
        self, train: Callable[[nn.Module], object], *, checkpoint: str | Path | None = None
    ) -> Iterator[Ticket]:
        """Train and prune, round by round; each ticket is handed out as it is found.

        Args:
            train: trains the model in place; called once per round, before it is pruned.
            checkpoint: a file that is written after every round, and continued from if it is there.

        Raises:
            SparsightError: the file is no checkpoint, or one of another lottery.
        """
        path = None if checkpoint is None else Path(checkpoint)
        if path is not None and path.exists():
            self.load_state_dict(_read(path))
        while self.round < self._rounds:
            train(self._model)
            ticket = self.prune()
            if path is not None:
                with replacing(path) as temporary:
                    torch.save(self.state_dict(), temporary)
            yield ticket

    def remove(self) -> None:
        """Let go of the model, the masks baked in."""
        self._sparsifier.remove()

    def state_dict(self) -> dict[str, Any]:
        """All that the next round needs, as tensors and plain values."""
        return {
            "round": self.round,
            "rounds": self._rounds,
            "sparsity": self._sparsity,
            "saved": dict(self._saved),
            "sparsifier": self._sparsifier.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at the beginning of the round in which ``state_dict`` was taken, the weights rewound.

        To go on within its training, load the model's own checkpoint afterwards.

        Raises:
            SparsightError: it is of another model, of other settings, or no such state.
        """
        try:
            rounds, sparsity, number = int(state["rounds"]), float(state["sparsity"]), int(state["round"])
            saved, masks = dict(state["saved"]), state["sparsifier"]
        except (KeyError, TypeError, ValueError):
            raise SparsightError("this is not a lottery's state: give what state_dict() returned.") from None
        if (rounds, sparsity) != (self._rounds, self._sparsity):
            raise SparsightError(
                f"the checkpoint is of {rounds} rounds to a sparsity of {sparsity:g}, but this lottery has "
                f"{self._rounds} to {self._sparsity:g}: make it with the same settings to resume."
            )
        shapes = {name: tuple(value.shape) for name, value in saved.items()}
        if shapes != {name: tuple(value.shape) for name, value in self._saved.items()}:
            raise SparsightError("the checkpoint is of another model: its weights differ in name or shape.")
        self._sparsifier.load_state_dict(masks)
        self.round = number
        self._saved = {name: value.to(self._saved[name].device, copy=True) for name, value in saved.items()}
        self.rewind()

    def _ticket(self) -> Ticket:
        return Ticket(
            self.round,
            self._sparsifier.report().sparsity,
            {name: mask.clone() for name, mask in self._sparsifier.masks.items()},
            {name: value.detach().clone() for name, value in self._model.state_dict().items()},
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever a damaged file makes the reader raise
        state = None
    if not isinstance(state, dict):
        raise SparsightError(f"{path} is not a lottery's checkpoint: remove it to start anew.")
    return state
