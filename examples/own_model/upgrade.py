"""The same training step before and after an upgrade that rounds the factors of products in one layer to bfloat16."""

import torch
from torch import nn

import kterm


class Upgraded(nn.Linear):
    """What the new version of a library does without saying so."""

    def forward(self, input):
        narrow = self.weight.to(torch.bfloat16).to(torch.float32)
        return nn.functional.linear(input.to(torch.bfloat16).to(torch.float32), narrow, self.bias)


def run_step(layer, folder):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), layer(128, 128), nn.SiLU(), nn.Linear(128, 20))
    x, y = torch.randn(4, 32, 64), torch.randint(0, 20, (4, 32))
    with kterm.capture(model, folder, dense=["2"]):
        nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()


run_step(nn.Linear, "old-trace")
run_step(Upgraded, "new-trace")
