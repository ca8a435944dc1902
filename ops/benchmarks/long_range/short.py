"""DeepLog as published: the next event from the ten before it, two LSTM layers of 64 (Du et al., CCS 2017)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from long_range.network import Days

HISTORY, HIDDEN, LAYERS = 10, 64, 2


class DeepLog(nn.Module):
    """The next event given HISTORY events; class 0 stands before a sequence begins."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, LAYERS, batch_first=True)
        self.out = nn.Linear(HIDDEN, classes)

    def logits(self, days: Days) -> Tensor:
        """Of every class at each event, [T, V + 1], from the events before it."""
        history = F.pad(days.events, (HISTORY, 0))[:-1].unfold(0, HISTORY, 1)
        back = torch.arange(HISTORY, 0, -1, device=history.device)
        history = torch.where(days.place[:, None] >= back, history, 0)
        state = self.lstm(self.embed(history))[0][:, -1]
        logits: Tensor = self.out(state)
        return logits
