"""Masks through training: how sparse, how exact, and what a training loop may do around them."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from sparsight import SparsightError
from sparsight.prune import schedules
from sparsight.prune.criteria import CRITERIA
from sparsight.prune.granularity import GRANULARITIES, partition
from sparsight.prune.layer import LayerState
from sparsight.prune.sparsifier import Sparsifier


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1, groups=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 10),
    )


class Volumes(nn.Module):
    """Every dimension of convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 6, 3, padding=1)
        self.second = nn.Conv3d(6, 5, (1, 2, 2))
        self.third = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.first(x)[:, :, None, None].repeat(1, 1, 1, 2, 1)
        return self.third(self.second(deep).mean((2, 3, 4)))


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 3, 6, 6, generator=generator)
    return images, torch.randint(10, (8,), generator=generator)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int = 0) -> None:
    images, labels = batch(seed)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()


def optimizers(model: nn.Module) -> dict[str, torch.optim.Optimizer]:
    return {
        "sgd": torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-2, nesterov=True),
        "adam": torch.optim.Adam(model.parameters(), 1e-2, weight_decay=1e-2),
        "adamw": torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1),
        "fused": torch.optim.Adam(model.parameters(), 1e-2, fused=True),
        "rmsprop": torch.optim.RMSprop(model.parameters(), 1e-2, momentum=0.9, centered=True),
    }


def zeros_hold(sparsifier: Sparsifier, model: nn.Module) -> bool:
    """Whether what is masked is +0: all bits are zero, so that it compresses."""
    return all(
        not model.get_submodule(name).weight[~mask].view(torch.uint8).any()
        for name, mask in sparsifier.masks.items()
    )


# How sparse.

ANY_GRANULARITY = [*GRANULARITIES, "block(2, 3)", "block(3, 1)", "n_of_m(1, 3)", "2:4"]


@pytest.mark.parametrize(
    "granularity,scope,schedule", list(product(ANY_GRANULARITY, ["local", "global"], schedules.SCHEDULES))
)
@given(
    sparsity=st.floats(0, 0.99),
    progress=st.lists(st.floats(0, 1), min_size=1, max_size=3),
    seed=st.integers(0, 9),
)
@settings(max_examples=4, deadline=None)
def test_sparsity_is_within_one_block_of_the_target(
    granularity: str, scope: str, schedule: str, sparsity: float, progress: list[float], seed: int
) -> None:
    model = network(seed) if seed % 2 else Volumes()
    layers = [name for name, module in model.named_modules() if hasattr(module, "groups") or name == "third"]
    if granularity in ("2:4", "n_of_m(1, 3)"):
        sparsity = min(sparsity, 0.3) / (1 if scope == "local" else 10)
    try:
        sparsifier = Sparsifier(
            model,
            sparsity,
            schedule=schedule,
            granularity=granularity,
            scope=scope,
            layers=layers,
            coupled=(),
        )
    except SparsightError as error:
        assert scope == "global" and "cannot be met" in str(error)
        return
    for t in progress:
        sparsifier.step(t)
        target = sparsity * schedules.SCHEDULES[schedule](t)
        blocks = {
            name: partition(granularity, mask.shape, getattr(model.get_submodule(name), "groups", 1))
            for name, mask in sparsifier.masks.items()
        }
        size = {name: 1 if cut.keep else int(cut.sizes().max()) for name, cut in blocks.items()}
        gone = {name: int((~mask).sum()) for name, mask in sparsifier.masks.items()}
        total = {name: mask.numel() for name, mask in sparsifier.masks.items()}
        for name, mask in sparsifier.masks.items():
            kept = blocks[name].gather(mask)
            whole = blocks[name].gather(torch.ones_like(mask))
            if (keep := blocks[name].keep) is None:
                assert bool(((kept == whole) | ~kept).all()), "blocks are kept or removed whole"
            else:
                assert bool((kept.sum(1) >= whole.sum(1).clamp(max=keep)).all())
        if scope == "global":
            assert abs(sum(gone.values()) - target * sum(total.values())) <= max(size.values()) + 1e-6
        else:
            for name, cut in blocks.items():
                reach = total[name] if cut.keep is None else int((cut.sizes() - cut.keep).clamp(min=0).sum())
                assert abs(gone[name] - min(target * total[name], reach)) <= size[name] + 1e-6
    assert zeros_hold(sparsifier, model)


def test_l1_keeps_the_largest_weights() -> None:
    model = nn.Sequential(nn.Linear(20, 10), nn.Linear(10, 5))
    before = [layer.weight.detach().abs().flatten() for layer in model]
    for scope, groups in (("local", [[0], [1]]), ("global", [[0, 1]])):
        masks = list(Sparsifier(copy.deepcopy(model), 0.7, scope=scope).mask().values())
        for group in groups:
            weights = torch.cat([before[index] for index in group])
            kept = torch.cat([masks[index].flatten() for index in group])
            assert int(kept.sum()) == round(0.3 * len(weights))
            assert weights[kept].min() > weights[~kept].max()


def test_global_blocks_are_made_comparable() -> None:
    model = nn.Sequential(nn.Conv2d(4, 16, 3), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 4, 1))
    with torch.no_grad():
        model[0].weight.mul_(100)
    wise = Sparsifier(copy.deepcopy(model), 0.5, granularity="filter", scope="global")
    plain = Sparsifier(copy.deepcopy(model), 0.5, granularity="filter", scope="global", normalise="none")
    wise.mask()
    plain.mask()
    assert plain.report().rows[0].sparsity == 0
    assert 0.2 < wise.report().rows[0].sparsity < 0.8


def test_two_of_four_is_exact_in_every_group() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Linear(16, 7))
    Sparsifier(model, 0.5, granularity="2:4").mask()
    for layer in model:
        groups = layer.weight.movedim(1, -1).reshape(-1, 4)
        assert bool(((groups != 0).sum(1) == 2).all())


def test_block_sparsities_of_their_own() -> None:
    model = network()
    sparsifier = Sparsifier(model, {"0": 0.25, "[35]": 0.5})
    sparsifier.mask()
    assert [(row.name, row.sparsity) for row in sparsifier.report().rows] == [
        ("0", 0.25),
        ("3", 0.5),
        ("5", 0.5),
    ]


def test_widths_are_rounded_and_depthwise_layers_follow() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 3, groups=32), nn.Conv2d(32, 50, 1), nn.Conv2d(50, 10, 1)
    )
    for scope in ("local", "global"):
        sparsifier = Sparsifier(copy.deepcopy(model), 0.6, granularity="filter", scope=scope, round_to=8)
        masks = sparsifier.mask()
        assert all(row.kept % 8 == 0 for row in sparsifier.report().rows)
        assert torch.equal(masks["0"][:, 0, 0, 0], masks["1"][:, 0, 0, 0])
        assert "3" not in masks, "the outputs of the network stay"


def test_coupled_layers_lose_the_same_channels() -> None:
    model = nn.Sequential(*[nn.Conv2d(8, 8, 3) for _ in range(5)])
    masks = Sparsifier(model, 0.5, granularity="filter", coupled=[("0", "2"), ("2", "3")]).mask()
    filters = {name: mask.flatten(1)[:, 0] for name, mask in masks.items()}
    assert torch.equal(filters["0"], filters["2"]) and torch.equal(filters["0"], filters["3"])
    assert not torch.equal(filters["0"], filters["1"])
    with pytest.raises(SparsightError, match="'9'"):
        Sparsifier(model, 0.5, granularity="filter", coupled=[("0", "9")])


@pytest.mark.parametrize("variety", ["pairs", "clusters"])
def test_variety_keeps_the_count_and_drops_a_twin(variety: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        model[0].weight[5] = model[0].weight[2] * 3
    sparsifier = Sparsifier(model, 0.125, granularity="filter", variety=variety)
    kept = sparsifier.mask()["0"][:, 0, 0, 0]
    if variety == "pairs":
        assert kept.tolist() == [True, True, False, True, True, True, True, True]
    assert int(kept.sum()) == 7


def test_which_layers() -> None:
    model = network()
    names = lambda **options: list(Sparsifier(model, 0.5, **options).masks)  # noqa: E731
    assert names() == ["0", "3", "5", "8"]
    assert names(granularity="filter") == ["0", "3", "5"]
    assert names(granularity="input_channel") == ["3", "5", "8"]
    assert names(granularity="input") == ["0"]
    assert names(granularity="filter", layers="8") == ["8"]
    assert names(layers=["8", "[03]"]) == ["0", "3", "8"]
    assert names(layers="!3") == ["0", "5", "8"]
    assert names(layers=lambda name, module: isinstance(module, nn.Linear)) == ["8"]


def test_shared_layers_and_weights_have_one_mask() -> None:
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 4)})
    model["d"] = model["a"]
    model["b"].weight = model["a"].weight
    assert list(Sparsifier(model, 0.5).masks) == ["a", "c"]


# How exact.


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "fused", "rmsprop"])
def test_zero_after_every_optimiser_step(name: str) -> None:
    model = network()
    optimizer = optimizers(model)[name]
    for seed in range(3):  # momentum from before the masks
        train(model, optimizer, seed)
    with Sparsifier(model, 0.8, total_steps=10) as sparsifier:
        for seed in range(10):
            train(model, optimizer, seed)
            assert zeros_hold(sparsifier, model), "also before the sparsifier's own step"
            sparsifier.step()
            assert zeros_hold(sparsifier, model)
        assert sparsifier.report().sparsity == pytest.approx(0.8, abs=0.005)
    assert sum(int((parameter == 0).sum()) for parameter in model.parameters()) >= 0.8 * 500


def test_zero_also_with_an_optimiser_of_ones_own() -> None:
    model = network()
    sparsifier = Sparsifier(model, 0.8)
    for progress in (0.5, 0.7, 1.0, 1.0):
        images, labels = batch()
        nn.functional.cross_entropy(model(images), labels).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(0.1 * parameter.grad + 1)
        sparsifier.step(progress)
        assert zeros_hold(sparsifier, model)


def test_other_models_optimisers_change_nothing() -> None:
    model, other = network(), network(1)
    sparsifier = Sparsifier(model, 0.5)
    sparsifier.mask()
    with torch.no_grad():
        model[0].weight.fill_(1)
    train(other, torch.optim.SGD(other.parameters(), 0.1))
    assert bool((model[0].weight == 1).all())


def test_removed_or_forgotten_leaves_nothing_behind() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    sparsifier = Sparsifier(model, 0.5, criterion="wanda")
    train(model, optimizer)
    sparsifier.mask()
    sparsifier.remove()
    assert zeros_hold(sparsifier, model)
    train(model, optimizer)
    assert not zeros_hold(sparsifier, model)
    assert not model[0]._forward_hooks
    with pytest.raises(SparsightError, match="removed"):
        sparsifier.step(0.5)

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    forgotten = Sparsifier(model, 0.9)
    masks = forgotten.mask()
    del forgotten
    train(model, optimizer)
    assert bool((model[0].weight[~masks["0"]] != 0).any())


def test_masks_stay_while_the_target_moves_by_less_than_a_block() -> None:
    model = network()
    calls = []
    criterion = CRITERIA["l1"]

    def counted(state: Any) -> Tensor:
        calls.append(state.name)
        return criterion.score(state)

    from dataclasses import replace

    sparsifier = Sparsifier(
        model, 0.5, criterion=replace(criterion, score=counted), granularity="filter", layers="0"
    )
    for step in range(1001):
        sparsifier.step(step / 1000)
    assert len(calls) == 4, "half of eight filters"


def test_every_few_steps_and_always_at_the_end() -> None:
    sparsifier = Sparsifier(network(), 0.9, schedule="linear", total_steps=10, every=4)
    found = []
    for _ in range(10):
        sparsifier.step()
        found.append(round(sparsifier.report().sparsity, 2))
    assert found == [0, 0, 0, 0.36, 0.36, 0.36, 0.36, 0.72, 0.72, 0.9]


def test_start_and_end() -> None:
    sparsifier = Sparsifier(network(), 0.5, schedule="linear", start=0.2, end=0.6)
    found = []
    for progress in (0.1, 0.2, 0.4, 0.6, 0.9):
        sparsifier.step(progress)
        found.append(round(sparsifier.report().sparsity, 2))
    assert found == [0, 0, 0.25, 0.5, 0.5]


def test_dense_sparse_dense_ends_dense() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = Sparsifier(model, 0.5, schedule="dsd", total_steps=9)
    found = []
    for seed in range(9):
        train(model, optimizer, seed)
        sparsifier.step()
        found.append(round(sparsifier.report().sparsity, 1))
    assert found == [0, 0, 0.5, 0.5, 0.5, 0, 0, 0, 0]


# Around the loop.


def test_gradient_accumulation_counts_each_gradient_once() -> None:
    whole, parts = network(), network()
    for model in (whole, parts):
        model[1] = nn.Identity()  # statistics of a batch differ from those of its parts
    images, labels = batch()
    found = []
    for model, count in ((whole, 1), (parts, 4)):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        sparsifier = Sparsifier(model, 0.5, criterion="movement")
        for part, wanted in zip(images.chunk(count), labels.chunk(count), strict=True):
            (nn.functional.cross_entropy(model(part), wanted) / count).backward()
        optimizer.step()
        found.append(sparsifier.state_dict()["layers"]["0"]["gathered"]["gradient_weight"])
    torch.testing.assert_close(found[0], found[1])
    assert float(found[0].abs().max()) > 0


def test_scaled_gradients_are_unscaled_and_overflows_skipped() -> None:
    found = {}
    for scaled in (False, True):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=scaled)
        sparsifier = Sparsifier(model, 0.5, criterion="movement")
        for seed in range(3):
            images, labels = batch(seed)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(images).float(), labels)
            scaler.scale(loss).backward()
            if scaled and seed == 1:
                model[0].weight.grad[0] = math.inf
            if scaled or seed != 1:
                scaler.step(optimizer)
            scaler.update()
            sparsifier.step(seed / 2)
            assert zeros_hold(sparsifier, model)
        found[scaled] = sparsifier.state_dict()["layers"]["0"]["gathered"]["gradient_weight"]
    torch.testing.assert_close(found[True], found[False], rtol=0.05, atol=1e-4)


def test_averaged_weights() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    sparsifier = Sparsifier(model, 0.8, total_steps=6)
    for seed in range(6):
        train(model, optimizer, seed)
        sparsifier.step()
        average.update_parameters(model)
    assert not zeros_hold(sparsifier, average.module)
    sparsifier.apply(average)
    assert zeros_hold(sparsifier, average.module)
    with pytest.raises(SparsightError, match="another model"):
        sparsifier.apply(nn.Linear(3, 3))


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["wanda", "flap", "hrank", "obs"])
def test_training_in_evaluation_mode_is_seen(criterion: str) -> None:
    """As where a network is tuned with its batch norms frozen."""
    model = network().eval()
    layers = "!8" if criterion == "hrank" else None
    sparsifier = Sparsifier(model, 0.5, criterion=criterion, layers=layers, total_steps=2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):
        train(model, optimizer)
        sparsifier.step()
    assert sparsifier.report().sparsity == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("criterion", ["wanda", "flap", "obs"])
def test_copies_and_evaluations_are_not_listened_to(criterion: str) -> None:
    def gathered() -> dict[str, Tensor]:
        layers = sparsifier.state_dict()["layers"]
        return {
            f"{name} {key}": value.clone()
            for name, layer in layers.items()
            for key, value in layer["gathered"].items()
        }

    model = network()
    sparsifier = Sparsifier(model, 0.5, criterion=criterion)
    model(batch()[0])
    before = gathered()
    assert before
    stream = io.BytesIO()
    torch.save(model, stream)
    loaded = torch.load(io.BytesIO(stream.getvalue()), weights_only=False)
    for copied in (copy.deepcopy(model), AveragedModel(model), loaded):
        copied.train()
        copied(batch(1)[0])
    model.eval()
    with torch.no_grad():
        model(batch(1)[0])
    after = gathered()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    model(batch(1)[0])
    assert not all(torch.equal(value, gathered()[name]) for name, value in before.items())


def test_compiled() -> None:
    plain = network()
    compiled = torch.compile(copy.deepcopy(plain), backend="aot_eager")
    reports = []
    for model in (plain, compiled):
        sparsifier = Sparsifier(model, 0.7, criterion="wanda", total_steps=4)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        for seed in range(4):
            train(model, optimizer, seed)
            sparsifier.step()
        reports.append(sparsifier)
    assert list(reports[1].masks) == ["0", "3", "5", "8"], "names without the wrapper's"
    for name, mask in reports[0].masks.items():
        assert float((mask == reports[1].masks[name]).float().mean()) > 0.98
    torch.testing.assert_close(plain(batch()[0]), compiled(batch()[0]), rtol=1e-3, atol=1e-3)


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    model = nn.parallel.DistributedDataParallel(network())
    # What each process sees differs, and with it what the criterion gathers.
    sparsifier = Sparsifier(model, 0.6, criterion="wanda", total_steps=5)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for seed in range(5):
        train(model, optimizer, 10 * seed + rank)
        sparsifier.step()
        assert zeros_hold(sparsifier, model.module)
    torch.save((sparsifier.masks, model.module.state_dict()), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_agree(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=2)
    (masks, weights), (others, copies) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, mask in masks.items():
        assert torch.equal(mask, others[name])
        assert torch.equal(weights[f"{name}.weight"], copies[f"{name}.weight"])
        assert 0.5 < float((~mask).float().mean()) < 0.7


def test_channels_last_weights() -> None:
    model = network().to(memory_format=torch.channels_last)
    sparsifier = Sparsifier(model, 0.5)
    reference = Sparsifier(network(), 0.5)
    sparsifier.mask()
    reference.mask()
    assert zeros_hold(sparsifier, model)
    assert all(torch.equal(mask, reference.masks[name]) for name, mask in sparsifier.masks.items())


def test_calibration_leaves_the_model_as_it_is() -> None:
    for criterion in ("wanda", "taylor", "hrank"):
        model = network()
        before = copy.deepcopy(model.state_dict())
        layers = ["0", "3", "5"]
        sparsifier = Sparsifier(
            model,
            0.5,
            criterion=criterion,
            granularity="filter",
            layers=layers,
            calibration=[batch()],
            loss=nn.functional.cross_entropy,
        )
        assert model.training and all(parameter.grad is None for parameter in model.parameters())
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        gathered = sparsifier.state_dict()["layers"]["0"]["gathered"]
        train(model, torch.optim.SGD(model.parameters(), 0.0))
        for name, value in sparsifier.state_dict()["layers"]["0"]["gathered"].items():
            assert torch.equal(value, gathered[name]), "training adds nothing to it"
        sparsifier.mask()
    with pytest.raises(SparsightError, match="give loss="):
        Sparsifier(network(), 0.5, criterion="taylor", calibration=[batch()])


# Resuming.


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"criterion": "movement", "scope": "global"},
        {"criterion": "updating_movement", "granularity": "kernel"},
        {"criterion": "magnitude_movement", "granularity": "2:4", "sparsity": 0.4},
        {"criterion": "wanda", "every": 3},
        {"criterion": "random", "granularity": "filter", "round_to": 2},
        {"criterion": "snip", "calibration": [batch()], "loss": nn.functional.cross_entropy},
        {"granularity": "filter", "variety": "pairs", "schedule": "agp(start=0)"},
    ],
    ids=lambda options: (
        " ".join(str(value) for value in options.values() if isinstance(value, (str, int))) or "plain"
    ),
)
def test_resumed_masks_are_the_same_to_the_bit(options: dict[str, Any]) -> None:
    settings = {"sparsity": 0.7, "total_steps": 8, **options}

    def begin() -> tuple[nn.Module, torch.optim.Optimizer, Sparsifier]:
        model = network()
        return model, torch.optim.Adam(model.parameters(), 1e-2), Sparsifier(model, **settings)

    def go(model: nn.Module, optimizer: torch.optim.Optimizer, sparsifier: Sparsifier, steps: range) -> None:
        for seed in steps:
            train(model, optimizer, seed)
            sparsifier.step()

    model, optimizer, sparsifier = begin()
    go(model, optimizer, sparsifier, range(5))
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), sparsifier.state_dict()], file)
    go(model, optimizer, sparsifier, range(5, 8))

    again, second, resumed = begin()
    file.seek(0)
    weights, moments, state = torch.load(file, weights_only=True)
    again.load_state_dict(weights)
    second.load_state_dict(moments)
    resumed.load_state_dict(state)
    go(again, second, resumed, range(5, 8))
    for name, mask in sparsifier.masks.items():
        assert torch.equal(mask, resumed.masks[name])
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())


def _with_short_mask(sparsifier: Sparsifier) -> dict[str, Any]:
    saved = copy.deepcopy(sparsifier.state_dict())
    saved["layers"]["8"]["mask"] = saved["layers"]["8"]["mask"][:-1]
    return saved


def test_checkpoints_of_others_are_refused_and_change_nothing() -> None:
    sparsifier = Sparsifier(network(), 0.5)
    before = sparsifier.mask()
    bigger = nn.Sequential(nn.Conv2d(3, 9, 3), nn.ReLU(), nn.ReLU(), nn.Conv2d(9, 9, 3))
    for saved, said in [
        (Sparsifier(bigger, 0.5).state_dict(), "another model"),
        (Sparsifier(network(), 0.5, layers="!3").state_dict(), "another model"),
        (Sparsifier(network(), 0.6).state_dict(), "sparsity="),
        (Sparsifier(network(), 0.5, granularity="kernel").state_dict(), "granularity='kernel'"),
        ({"mask": 1}, "no sparsifier's state"),
        ({"layers": 3, "settings": {}}, "no sparsifier's state"),
        (sparsifier.state_dict() | {"asked": None}, "damaged"),
        (_with_short_mask(sparsifier), "damaged"),
    ]:
        with pytest.raises(SparsightError, match=said):
            sparsifier.load_state_dict(saved)
        assert all(torch.equal(before[name], mask) for name, mask in sparsifier.masks.items())
    # A larger choice of layers does not pass for a smaller one.
    with pytest.raises(SparsightError, match="another model"):
        Sparsifier(network(), 0.5, layers="!3").load_state_dict(sparsifier.state_dict())


# What is said.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sparsity": 1.0}, r"\[0, 1\)"),
        ({"sparsity": 90}, r"\[0, 1\)"),
        ({"sparsity": -0.1}, r"\[0, 1\)"),
        ({"sparsity": math.nan}, r"\[0, 1\)"),
        ({"sparsity": {"0": 1.5}}, "layer '0'"),
        ({"sparsity": {"features.*": 0.5}}, r"'features\.\*'"),
        ({"layers": "convolution"}, "matches 'convolution'"),
        ({"layers": ["0", "99"]}, "matches '99'"),
        ({"layers": "1"}, "matches '1'"),
        ({"layers": ["0", "!0"]}, "no layer"),
        ({"layers": lambda name, module: False}, "no layer"),
        ({"criterion": "l11"}, "did you mean 'l1'"),
        ({"granularity": "filters"}, "did you mean 'filter'"),
        ({"schedule": "1cycle"}, "1cycle"),
        ({"scope": "globe"}, "did you mean 'global'"),
        ({"variety": "pairs"}, "use 'filter'"),
        ({"normalise": "maximum"}, "normalisation"),
        ({"aggregation": "median"}, "aggregation"),
        ({"round_to": 8}, "round_to is about widths"),
        ({"start": 0.5, "end": 0.2}, "start < end"),
        ({"total_steps": 0}, "whole numbers"),
        ({"total_steps": 2.5}, r"total_steps is 2\.5"),
        ({"every": 0}, "every is 0"),
        ({"start": "a"}, "not from 'a'"),
        ({"layers": []}, "leaves no layer"),
        ({"layers": ()}, "leaves no layer"),
        ({"layers": [0, 3]}, "one of type int"),
        ({"layers": 5}, "one of type int"),
        ({"layers": nn.Conv2d}, "one of type type"),
        ({"layers": nn.Sequential(nn.Linear(2, 2))}, "one of type Linear"),
        ({"schedule": 3}, "function of progress, not 3"),
        ({"schedule": lambda t: math.nan}, r"gives nan at progress 0"),
        ({"schedule": lambda t: 2 * t}, r"gives 2\.0 at progress 1"),
        ({"schedule": lambda t: "much"}, "gives 'much'"),
        ({"granularity": None}, "not None"),
        ({"granularity": 3}, "not 3"),
        ({"scope": None}, "global, local"),
        ({"criterion": None}, "no criterion called None"),
        ({"criterion": ["l1"]}, "no criterion called"),
        ({"sparsity": 0.95, "granularity": "filter", "scope": "global", "round_to": 4}, "multiples of 4"),
        ({"granularity": "2:4", "sparsity": 0.9}, "reaches 50.00%"),
        ({"sparsity": {"0": 0.5, "3": 0.2}, "scope": "global"}, "scope='local'"),
    ],
)
def test_bad_settings_are_said_in_a_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SparsightError, match=said) as caught:
        Sparsifier(network(), **{"sparsity": 0.5, **options})
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_global_target_out_of_reach_says_the_figure_reached() -> None:
    model = nn.Sequential(nn.Linear(10, 2), nn.Linear(2, 4), nn.Linear(4, 3))
    with pytest.raises(SparsightError, match=r"0\.99 cannot be met.* reaches 57\.14%"):
        Sparsifier(model, 0.99, granularity="filter", scope="global")
    Sparsifier(model, 0.57, granularity="filter", scope="global").mask()


def test_diverged_training_is_said() -> None:
    model = network()
    sparsifier = Sparsifier(model, 0.5)
    with torch.no_grad():
        model[3].weight[0, 0, 0, 0] = math.nan
    with pytest.raises(SparsightError, match=r"layer '3' has NaN"):
        sparsifier.step(0.5)
    with pytest.raises(SparsightError, match=r"layer '3' has NaN"):
        Sparsifier(model, 0.5)


def test_models_that_cannot_be_sparsified_are_said() -> None:
    with pytest.raises(SparsightError, match="of type str"):
        Sparsifier("resnet18", 0.5)  # type: ignore[arg-type]
    scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(SparsightError, match="TorchScript"):
        Sparsifier(scripted, 0.5)
    with pytest.raises(SparsightError, match="nothing to sparsify"):
        Sparsifier(nn.Sequential(nn.ReLU()), 0.5)
    computed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)))
    with pytest.raises(SparsightError, match="computed or not there yet"):
        Sparsifier(computed, 0.5)
    with pytest.raises(SparsightError, match="computed or not there yet"):
        Sparsifier(nn.Sequential(nn.LazyLinear(3)), 0.5)


def test_steps_out_of_line_are_said() -> None:
    with pytest.raises(SparsightError, match="counts up to total_steps"):
        Sparsifier(network(), 0.5).step()
    sparsifier = Sparsifier(network(), 0.5, total_steps=1)
    sparsifier.step()
    with pytest.raises(SparsightError, match="total_steps=1"):
        sparsifier.step()
    for wrong in (1.1, math.nan, "a"):
        with pytest.raises(SparsightError, match="progress"):
            sparsifier.step(wrong)  # type: ignore[arg-type]


def test_nothing_seen_yet_is_said() -> None:
    with pytest.raises(SparsightError, match="run a training step first"):
        Sparsifier(network(), 0.5, criterion="movement").mask()


def test_a_function_is_a_criterion() -> None:
    def cube(state: LayerState) -> Tensor:
        return state.weight.abs() ** 3

    ours, plain = network(), network()
    masks = Sparsifier(ours, 0.5, criterion=cube).mask()
    expected = Sparsifier(plain, 0.5, criterion="l1").mask()
    assert all(torch.equal(masks[name], mask) for name, mask in expected.items())
    state = Sparsifier(network(), 0.5, criterion=cube).state_dict()
    assert state["settings"]["criterion"] == "cube"
    for wrong in (lambda state: 1.0, lambda state: torch.ones(7), lambda state: state.weight.numpy()):
        with pytest.raises(SparsightError, match="shaped like the weight of layer '0'") as caught:
            Sparsifier(network(), 0.5, criterion=wrong).mask()  # type: ignore[arg-type, return-value]
        assert "\n" not in str(caught.value)


def test_the_schedule_of_ones_own_is_looked_at_in_training_too() -> None:
    sparsifier = Sparsifier(network(), 0.5, schedule=lambda t: math.nan if 0.6 < t < 0.9 else t)
    sparsifier.step(0.5)
    with pytest.raises(SparsightError, match=r"gives nan at progress 0\.7"):
        sparsifier.step(0.7)
    # A hair above one is rounding.
    assert Sparsifier(network(), 0.5, schedule=lambda t: t * (1 + 1e-9)).step(1.0) is None


def test_a_shortfall_is_said() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 4))
    sparsifier = Sparsifier(model, 0.9, granularity="filter", round_to=16)
    sparsifier.mask()
    report = sparsifier.report()
    assert report.shortfall == "asked 90%, reached 0%: widths stay multiples of 16 (round_to)"
    assert str(report).endswith(report.shortfall)
    # What the machine likes is no reason to keep all of a narrow layer.
    narrow = Sparsifier(model, 0.9, granularity="filter", round_to="auto")
    narrow.mask()
    assert [row.kept for row in narrow.report().rows] == [1, 1]
    assert narrow.report().shortfall == "", "within one block"


def test_the_report_reads() -> None:
    sparsifier = Sparsifier(network(), 0.5, granularity="filter")
    sparsifier.mask()
    report = sparsifier.report()
    assert [row.kept for row in report.rows] == [4, 4, 6]
    assert report.sparsity == report.target == 0.5
    assert "12x4x3x3" in str(report) and str(report).count("\n") == 3


@pytest.mark.parametrize("sparsity", [0.37, 0.379, 0.62, 0.63])
def test_widths_that_are_rounded_end_where_one_step_ends(sparsity: float) -> None:
    def kept(steps: int) -> int:
        model = nn.Sequential(nn.Linear(9, 16), nn.Linear(16, 3))
        sparsifier = Sparsifier(model, sparsity, granularity="filter", round_to=4)
        for step in range(steps):
            sparsifier.step((step + 1) / steps)
        return sparsifier.report().rows[0].kept

    assert kept(50) == kept(1)
