from __future__ import annotations

import copy
import io
import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparsight import SparsightError
from sparsight.prune.lottery import LotteryTicket, Ticket


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 8), nn.Linear(8, 2)
    )


def train(model: nn.Module, steps: int = 4) -> None:
    """The same data at every call; momentum and decay pull at what is masked."""
    generator = torch.Generator().manual_seed(7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    model.train()
    for _ in range(steps):
        x = torch.randn(8, 1, 6, 6, generator=generator)
        y = (x.mean(dim=(1, 2, 3)) > 0).long()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def frozen(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def check_rewound(ticket: Ticket, saved: dict[str, Tensor]) -> None:
    for name, value in ticket.weights.items():
        mask = ticket.masks.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        expected = saved[name] if mask is None else torch.where(mask, saved[name], torch.zeros(()))
        assert torch.equal(value, expected), name


def test_rewound_weights_are_the_saved_ones_where_kept_and_zero_elsewhere() -> None:
    model = network()
    saved = frozen(model)
    lottery = LotteryTicket(model, 0.8, rounds=3)
    tickets = list(lottery.draw(train))
    for ticket in tickets:
        check_rewound(ticket, saved)
    assert same(frozen(model), tickets[-1].weights)
    # The same share of what is left each time, and nothing comes back.
    kept = [ticket.round for ticket in tickets], [1 - ticket.sparsity for ticket in tickets]
    assert kept == ([1, 2, 3], [pytest.approx(0.2 ** (k / 3), abs=0.01) for k in (1, 2, 3)])
    for before, after in itertools.pairwise(tickets):
        assert all(bool((after.masks[name] <= mask).all()) for name, mask in before.masks.items())


def test_masks_are_chosen_by_the_trained_weights() -> None:
    model = network()
    lottery = LotteryTicket(model, 0.5, rounds=1, layers=["4"])
    train(model)
    trained = model[4].weight.detach().abs().flatten()
    ticket = lottery.prune()
    expected = torch.zeros(len(trained), dtype=torch.bool)
    expected[trained.argsort(descending=True)[: len(trained) // 2]] = True
    assert torch.equal(ticket.masks["4"].flatten(), expected)


def test_masked_weights_stay_zero_while_a_ticket_is_trained() -> None:
    model = network()
    lottery = LotteryTicket(model, 0.7, rounds=1)
    (ticket,) = lottery.draw(train)
    train(model)
    for name, mask in ticket.masks.items():
        weight = model.get_submodule(name).weight
        assert not weight[~mask].any()
        assert not torch.equal(weight[mask], ticket.weights[f"{name}.weight"][mask])


def test_weights_can_be_saved_after_the_first_steps() -> None:
    model = network()
    lottery = LotteryTicket(model, 0.6, rounds=2)
    train(model, steps=2)
    lottery.save()
    saved = frozen(model)
    for ticket in lottery.draw(train):
        check_rewound(ticket, saved)
    with pytest.raises(SparsightError, match="cannot change after round 2"):
        lottery.save()


def test_reset_brings_all_weights_back() -> None:
    model = network()
    saved = frozen(model)
    lottery = LotteryTicket(model, 0.6, rounds=2)
    first = [ticket.weights for ticket in lottery.draw(train)]
    lottery.reset()
    assert same(frozen(model), saved)
    train(model)
    assert all(bool(model.get_submodule(name).weight.all()) for name in ("0", "4", "5"))
    lottery.reset()
    again = [ticket.weights for ticket in lottery.draw(train)]
    assert all(same(a, b) for a, b in zip(first, again, strict=True))


def test_a_lottery_that_was_killed_goes_on_to_the_same_tickets(tmp_path: Path) -> None:
    whole = [ticket.weights for ticket in LotteryTicket(network(), 0.8, rounds=4).draw(train)]
    path = tmp_path / "lottery.pt"
    drawing = LotteryTicket(network(), 0.8, rounds=4).draw(train, checkpoint=path)
    parts = [next(drawing).weights, next(drawing).weights]
    drawing.close()
    # Another model to start from: all that counts is in the file.
    resumed = LotteryTicket(network(seed=9), 0.8, rounds=4)
    parts += [ticket.weights for ticket in resumed.draw(train, checkpoint=path)]
    assert len(parts) == 4
    assert all(same(a, b) for a, b in zip(whole, parts, strict=True))
    assert not list(LotteryTicket(network(), 0.8, rounds=4).draw(train, checkpoint=path))


def test_whole_filters_and_other_criteria() -> None:
    model = network()
    saved = frozen(model)
    lottery = LotteryTicket(model, 0.5, rounds=2, granularity="filter", criterion="l2", layers=["0"])
    for ticket in lottery.draw(train):
        check_rewound(ticket, saved)
    assert int(ticket.masks["0"].flatten(1).any(dim=1).sum()) == 3
    lottery.remove()
    train(model)
    assert model[0].weight.flatten(1).any(dim=1).all()  # let go of: nothing holds the masks any more


def test_the_state_is_plain_data() -> None:
    lottery = LotteryTicket(network(), 0.5, rounds=1)
    buffer = io.BytesIO()
    torch.save(lottery.state_dict(), buffer)
    buffer.seek(0)
    LotteryTicket(network(3), 0.5, rounds=1).load_state_dict(torch.load(buffer, weights_only=True))


def test_bad_input_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="at least one round"):
        LotteryTicket(network(), 0.5, rounds=0)
    lottery = LotteryTicket(network(), 0.5, rounds=1)
    with pytest.raises(SparsightError, match="not a lottery's state"):
        lottery.load_state_dict({"round": 1})
    with pytest.raises(SparsightError, match=r"2 rounds to a sparsity of 0\.5"):
        lottery.load_state_dict(LotteryTicket(network(), 0.5, rounds=2).state_dict())
    other = LotteryTicket(nn.Linear(3, 4), 0.5, rounds=1)
    with pytest.raises(SparsightError, match="another model"):
        lottery.load_state_dict(other.state_dict())
    with pytest.raises(SparsightError, match="criterion"):
        lottery.load_state_dict(LotteryTicket(network(), 0.5, rounds=1, criterion="l2").state_dict())
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(SparsightError, match=r"broken\.pt is not a lottery's checkpoint"):
        next(lottery.draw(train, checkpoint=tmp_path / "broken.pt"))
    lottery.prune()
    with pytest.raises(SparsightError, match="all 1 rounds"):
        lottery.prune()
