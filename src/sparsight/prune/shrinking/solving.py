"""Which channels can go: from what a run told to a set of slots to remove."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from sparsight.prune.shrinking.slots import FIXED, distinct, place
from sparsight.prune.shrinking.tracing import Contraction, Equal, Trace


@dataclass
class Rules:
    """What was learnt from plans that failed: the network's own code fixes more than its operations show.

    Attributes:
        pins: further slots that must stay, with the reason.
        aligned: numbers of the sets in ``Trace.equals`` that must lose the same positions.
    """

    pins: list[tuple[Tensor, str]] = field(default_factory=list)
    aligned: set[int] = field(default_factory=set)


@dataclass
class Plan:
    """What stays.

    Attributes:
        kept: bool per slot.
        classes: per slot, the number of the class of slots that stand or fall with it.
        reasons: class → why it stays though it is dead.
    """

    kept: Tensor
    classes: Tensor
    reasons: dict[int, str]


class Solver:
    """Finds the channels that nothing needs, then gives back those that the network's form asks for.

    A channel is needed when it is pinned or when some needed filter reads it and it is not constant: what is
    constant can be folded into that filter's bias. Channels of one class stand or fall together.
    """

    def __init__(self, trace: Trace, rules: Rules) -> None:
        self.trace = trace
        self.rules = rules
        self.classes = _classes(trace)
        self.count = int(self.classes.max()) + 1
        self.reasons: dict[int, str] = {}
        self.pinned = torch.zeros(self.count, dtype=torch.bool)
        self.pinned[self.classes[FIXED]] = True
        for slots, reason in (*trace.pins, *rules.pins):
            classes = distinct(self.classes[slots])
            self.pinned[classes] = True
            for number in classes.tolist():
                self.reasons.setdefault(number, reason)
        self.needed = self.pinned.clone()
        self.kept = self.pinned.clone()

    def solve(self, round_to: int | None) -> Plan:
        """Remove all that is not needed, but for what widths, groups and constants ask back."""
        self._need()
        self.kept = self.needed.clone()
        contractions = self.trace.contractions.values()
        # A norm has the very slots of the layer before it, in all that it holds.
        axes: dict[tuple[int, int, int], tuple[Tensor, str]] = {}
        for (name, _), slots in self.trace.axes.items():
            axes.setdefault(place(slots), (slots, name.rpartition(".")[0]))
        for contraction in contractions:
            axes.pop(place(contraction.outs), None)
            axes.pop(place(contraction.ins), None)
        changed = True
        while changed:
            before = int(self.kept.sum())
            for contraction in contractions:
                for slots in (contraction.outs, contraction.ins):
                    self._keep_one(slots, contraction.layer)
                self._keep_carriers(contraction)
            for slots, layer in axes.values():
                self._keep_one(slots, layer)
            for index, equal in enumerate(self.trace.equals):
                self._keep_equal(equal, aligned=index in self.rules.aligned)
            if round_to:
                for contraction in contractions:
                    self._round(contraction.outs, round_to)
            changed = int(self.kept.sum()) != before
        return Plan(self.kept[self.classes], self.classes, self.reasons)

    # --- What is needed --------------------------------------------------------------------------------

    def _need(self) -> None:
        """Spread need from the outputs backwards until nothing changes."""
        pending = list(reversed(self.trace.contractions.values()))
        done: dict[str, int] = {}
        changed = True
        while changed:
            changed = False
            for contraction in pending:
                rows = self.needed[self.classes[contraction.outs]]
                if done.get(contraction.name) == (total := int(rows.sum())):
                    continue
                done[contraction.name] = total
                wanted = contraction.read(rows) & ~self.foldable(contraction)
                classes = self.classes[contraction.ins[wanted]]
                fresh = distinct(classes[~self.needed[classes]])
                if len(fresh):
                    changed = True
                    self.needed[fresh] = True
                    reason = f"{contraction.layer} reads what it is summed with"
                    self.reasons.update(dict.fromkeys(fresh.tolist(), reason))

    def foldable(self, contraction: Contraction) -> Tensor:
        """Which of a layer's inputs are constants that it can do without: bool (inputs,)."""
        constants = contraction.constants
        if contraction.can_add or contraction.norm or contraction.padded:
            return ~constants.isnan()
        return constants == 0

    # --- What is given back ----------------------------------------------------------------------------

    def _keep(self, classes: Tensor, reason: str) -> None:
        for number in classes.tolist():
            self.kept[number] = True
            self.reasons.setdefault(number, reason)

    def _gone(self, slots: Tensor) -> Tensor:
        """Classes among these slots that are to be removed, each once, in order of their slots."""
        classes = self.classes[slots]
        classes = classes[~self.kept[classes]]
        return torch.tensor(list(dict.fromkeys(classes.tolist())), dtype=torch.int64)

    def _keep_one(self, slots: Tensor, layer: str) -> None:
        if len(slots) and not self.kept[self.classes[slots]].any():
            self._keep(self._gone(slots)[:1], f"is the last channel of {layer}")

    def _keep_carriers(self, contraction: Contraction) -> None:
        """Where zero padding keeps constants out of the bias, one constant channel stays for the others."""
        if not contraction.padded:
            return
        uneven = ~contraction.constants.isnan() & (contraction.constants != 0)
        if not bool(uneven.any()):
            return
        rows = self.needed[self.classes[contraction.outs]]
        read = contraction.read(rows)
        kept = self.kept[self.classes[contraction.ins]]
        for group in torch.arange(len(uneven)).chunk(contraction.groups):
            lost = group[(uneven & read & ~kept)[group]]
            if len(lost) and not (uneven & kept)[group].any():
                best = lost[contraction.constants[lost].abs().argmax()]
                others = f" and those of {len(lost) - 1} other dead channels" if len(lost) > 1 else ""
                self._keep(
                    self.classes[contraction.ins[best : best + 1]],
                    f"carries its constant{others} past the zero padding of {contraction.layer}",
                )
                kept = self.kept[self.classes[contraction.ins]]

    def _keep_equal(self, equal: Equal, *, aligned: bool) -> None:
        reason = f"keeps {equal.where} equal"
        if aligned:
            for sets in (equal.sets, equal.outs):
                if sets is not None:
                    kept = self.kept[self.classes[sets]]
                    self._keep(self._gone(sets[kept.any(0).expand_as(kept)]), reason)
            return
        present = torch.ones(len(equal.sets), dtype=torch.bool)
        if equal.outs is not None:
            outs = self.kept[self.classes[equal.outs]]
            present = self.kept[self.classes[equal.sets]].any(1) | outs.any(1)
            self._level(equal.outs[present], reason)
        self._level(equal.sets[present], reason)

    def _level(self, sets: Tensor, reason: str) -> None:
        """Raise every set to as many kept positions as the fullest."""
        counts = self.kept[self.classes[sets]].sum(1)
        if not len(counts) or bool((counts == counts.max()).all()):
            return
        for row in sets[counts < counts.max()]:
            missing = int(counts.max() - self.kept[self.classes[row]].sum())
            if missing > 0:
                self._keep(self._gone(row)[:missing], reason)

    def _round(self, slots: Tensor, multiple: int) -> None:
        width = int(self.kept[self.classes[slots]].sum())
        missing = min(-(-width // multiple) * multiple, len(slots)) - width
        if missing > 0:
            self._keep(self._gone(slots)[:missing], f"makes the width a multiple of {multiple}")


def _classes(trace: Trace) -> Tensor:
    edges = torch.cat([torch.empty(2, 0, dtype=torch.int64), *trace.edges], dim=1).numpy()
    graph = coo_array((np.ones(edges.shape[1], dtype=np.bool_), edges), shape=(trace.slots, trace.slots))
    _, labels = connected_components(graph, directed=False)
    return torch.from_numpy(labels.astype(np.int64))


def learn(trace: Trace, plan: Plan, rules: Rules, step: int, reason: str) -> bool:
    """Add what a failed plan taught; False if nothing is left to learn.

    The operation at which the shrunk network went wrong, or one shortly before it, fixes something that
    the plan changed: sets of equal size are first made to lose the same positions, then kept whole.
    """
    for index in range(min(step, len(trace.steps) - 1), -1, -1):
        slots = _concerned(trace.steps[index].inputs, plan)
        if not len(slots):
            continue
        classes = plan.classes[slots]
        cuts = {
            n for n, equal in enumerate(trace.equals) if torch.isin(plan.classes[equal.sets], classes).any()
        }
        if cuts - rules.aligned:
            rules.aligned |= cuts
            return True
        where = trace.steps[index].where or "the forward pass"
        rules.pins.append((slots, f"has a size written into the code of {where} ({reason})"))
        return True
    return False


def _concerned(inputs: Iterable[tuple[Tensor, torch.Size]], plan: Plan) -> Tensor:
    """Slots of these inputs, where the plan removes any of them; else none."""
    slots = torch.cat([torch.empty(0, dtype=torch.int64), *(own.reshape(-1) for own, _ in inputs)])
    return distinct(slots) if not bool(plan.kept[slots].all()) else slots[:0]
