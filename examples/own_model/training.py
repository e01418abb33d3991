"""A training loop with gradient accumulation over four micro-batches, which loses the first of each step."""

import torch
from torch import nn

import kterm

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
with kterm.capture(model, "training-trace") as trace:
    for _ in range(2):
        for number in range(4):
            x, y = torch.randn(16, 32), torch.randint(0, 8, (16,))
            loss = nn.functional.cross_entropy(model(x), y) / 4
            loss.backward()
            if number == 0:  # it should be before the first, and not behind it
                optimizer.zero_grad()
        trace.end_step()
        optimizer.step()
        optimizer.zero_grad()
