"""The product's network over packed whole days, through our kernels, and one layer kind more: the lane.

A lane layer reads, of all earlier events, only those of rare classes, and only such an event reads: rows of the rare
ones are put together and attend to each other densely. What names a key or a job is rare; what goes on anyway is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from longwatch.kernels import Dense, Pattern, block_sparse_attention, build_plan, parse_pattern, plan_on_device
from longwatch.model.config import ModelConfig
from longwatch.model.transformer import EventTransformer, rotate

LANE = "lane"
SHARPNESS = 2.0  # of a copying head at its start
QUIET = 0.1  # of what all else writes at the start, or it drowns what is copied


@dataclass(frozen=True)
class Days:
    """Packed sequences on the network's device: classes and places int64 [T], and what each layer kind needs."""

    events: Tensor
    place: Tensor
    plans: dict[str, Any]
    lane: Tensor  # rows of rare classes, int64 [M]
    classes: NDArray[np.int64]

    @classmethod
    def of(
        cls, days: Sequence[NDArray[np.int64]], layers: Sequence[str], rare: NDArray[np.bool_], device: str
    ) -> "Days":
        """The sequences one behind the other; `rare` bool [V + 1]."""
        lengths = [len(day) for day in days]
        classes = np.concatenate(days)
        place = np.concatenate([np.arange(length) for length in lengths])
        inside = rare[classes]
        bounds = np.cumsum([0, *lengths])
        plans = {text: plan_of(parse_pattern(text), bounds, device) for text in set(layers) - {LANE}}
        if LANE in layers:
            counts = np.concatenate([[0], np.cumsum(inside)])[bounds]
            plans[LANE] = plan_of(Dense(), counts, device)
        at = [torch.from_numpy(array).to(device) for array in (classes, place, np.flatnonzero(inside))]
        return cls(at[0], at[1], plans, at[2], classes)


def plan_of(pattern: Pattern, bounds: NDArray[np.int64], device: str) -> Any:
    """What attention over these sequences reads: for our kernels on a GPU, for plain torch elsewhere."""
    if device == "cuda":
        return plan_on_device(pattern, bounds.tolist(), device=device)
    chosen = pattern.data_chosen
    return build_plan(pattern, bounds, chosen.block if chosen else 64)


class LongTransformer(EventTransformer):
    """An EventTransformer whose layers are named by pattern or `lane`, run packed, in which far layers can copy.

    far: the layers between the first and the last, which look for the same name far back. Their keys see the event
    before too (`shift`), so that one layer finds what followed; `copying` starts them as heads that find what is
    alike, or what came after it, and pass it on; `turned` gives them rotary positions, which blur far matches.
    """

    def __init__(
        self, config: ModelConfig, layers: Sequence[str], known_words: Tensor, *,
        shift: bool = True, copying: bool = True, turned: bool = False, word_std: float = 0.1,
    ) -> None:  # fmt: skip
        patterns = tuple("dense" if text == LANE else text for text in layers)
        super().__init__(replace(config, layers=patterns), known_words)
        self.texts = tuple(layers)
        self.far = frozenset(range(1, len(layers) - 1) if len(layers) > 2 else (len(layers) - 1,))
        self.turned = turned
        width = config.num_kv_heads * config.head_dim
        self.previous = nn.ModuleDict(
            {str(number): nn.Linear(config.d_model, width, bias=False) for number in sorted(self.far) if shift}
        )
        # Events that share a name are alike from the start: their words decide, and their own part begins at 0.
        nn.init.normal_(self.words.weight, std=word_std)
        nn.init.zeros_(self.residual.weight)
        if copying:
            self._start_as_copies()

    def logits(self, days: Days) -> Tensor:
        """Of every class at each event, [T, V + 1], from the events before it."""
        table = self.output_table()
        return F.linear(self.before(days, table), table, self.bias)

    def before(self, days: Days, table: Tensor) -> Tensor:
        """What is known before each event, [T, D]."""
        stream = table[days.events] + self.gap.weight[1] + self.shape.weight[0]
        angles = self.rotary.at(days.place)
        for number, layer in enumerate(self.layers):
            stream = stream + self._attend(number, layer.attention_norm(stream), angles, days)
            stream = stream + layer.feed(stream)
        shifted = torch.cat([self.start[None], stream[:-1]])
        return self.norm(torch.where(days.place[:, None] == 0, self.start, shifted))

    def _attend(self, number: int, normed: Tensor, angles: tuple[Tensor, Tensor], days: Days) -> Tensor:
        """What a layer's attention adds, [T, D]; in a lane layer 0 for events outside the lane."""
        text, rows = self.texts[number], None
        earlier = torch.where(days.place[:, None] == 0, 0, torch.cat([normed[:1], normed[:-1]]))
        if text == LANE:
            rows, whole = days.lane, normed
            normed, earlier = normed[rows], earlier[rows]
            angles = (angles[0][rows], angles[1][rows])
        inside = self._mixed(number, normed, earlier, angles, days.plans[text])
        if rows is None:
            return inside
        return torch.zeros_like(whole, dtype=inside.dtype).index_copy(0, rows, inside)

    def _mixed(self, number: int, normed: Tensor, earlier: Tensor, angles: tuple[Tensor, Tensor], plan: Any) -> Tensor:
        """Attention of packed rows [M, D] by a plan; `earlier` is each row's event before."""
        layer = self.layers[number]
        query = layer.query(normed).view(len(normed), layer.heads, layer.head_dim)
        key, value = layer.key_value(normed).view(len(normed), 2 * layer.kv_heads, layer.head_dim).chunk(2, dim=1)
        if str(number) in self.previous:
            key = key + self.previous[str(number)](earlier).view_as(key)
        if self.turned or number not in self.far:
            query, key = rotate(query, angles), rotate(key, angles)
        out = block_sparse_attention(query, key, value.contiguous(), plan, deterministic=False)
        gathered: Tensor = layer.attention_out(out.reshape(len(normed), -1))
        return gathered

    @torch.no_grad()
    def _start_as_copies(self) -> None:
        """Far layers: even heads match the event itself, odd ones the event before it; what matches is passed on."""
        for number, layer in enumerate(self.layers):
            layer.feed_out.weight.mul_(QUIET)
            if number not in self.far:
                layer.attention_out.weight.mul_(QUIET)
                continue
            key, value = layer.key_value.weight.chunk(2)
            alike = layer.query.weight.clone().view(layer.heads, layer.head_dim, -1)
            layer.query.weight.mul_(SHARPNESS)
            after = torch.arange(layer.heads)[:, None, None] % 2 == 1
            if str(number) in self.previous:
                self.previous[str(number)].weight.copy_(torch.where(after, alike, 0.1 * alike).flatten(0, 1))
                alike = torch.where(after, 0.1 * alike, alike)
            key.copy_(alike.flatten(0, 1))
            nn.init.orthogonal_(value)
            layer.attention_out.weight.copy_(0.5 * value.T)


def rare_classes(counts: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """The rarest classes that together make up at most `share` of the events they were counted in, bool [V + 1]."""
    order = np.argsort(counts, kind="stable")
    rare = np.zeros(len(counts), dtype=bool)
    rare[order[np.cumsum(counts[order]) <= share * counts.sum()]] = True
    return rare
