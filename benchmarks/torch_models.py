"""The paper's small networks in idiomatic PyTorch.

Needs PyTorch but not this package: `pip install torch`.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

_BLOCKS = (
  (32, 32),
  (32, 48),
  80,
  (112, 48),
  (96, 64),
  (80, 80),
  (48, 96),
  96,
  (176, 160),
  (176, 160),
)


class ConvModule(nn.Module):
  """Convolution, batch norm without scale, ReLU."""

  def __init__(self, inputs: int, filters: int, size: int, stride: int = 1):
    super().__init__()
    self.conv = nn.Conv2d(inputs, filters, size, stride, size // 2, bias=False)
    self.norm = nn.BatchNorm2d(filters, eps=1e-3)
    # No scale, as in TF-slim of 2016. PyTorch has no option for that.
    del self.norm.weight
    self.norm.register_parameter("weight", None)

  def forward(self, x):
    return F.relu(self.norm(self.conv(x)))


class Inception(nn.Module):
  """Small Inception with 1,649,402 parameters."""

  def __init__(self):
    super().__init__()
    self.stem = ConvModule(3, 96, 3)
    channels, blocks = 96, []
    for block in _BLOCKS:
      if isinstance(block, tuple):
        one, three = block
        modules = (
          ConvModule(channels, one, 1),
          ConvModule(channels, three, 3),
        )
        channels = one + three
      else:
        modules = (ConvModule(channels, block, 3, 2),)
        channels += block
      blocks.append(nn.ModuleList(modules))
    self.blocks = nn.ModuleList(blocks)
    self.linear = nn.Linear(channels, 10)

  def forward(self, x):
    x = self.stem(x)
    for modules in self.blocks:
      branches = [module(x) for module in modules]
      if len(branches) == 1:
        branches.append(F.max_pool2d(x, 3, 2, ceil_mode=True))
      x = torch.cat(branches, 1)
    return self.linear(x.mean((2, 3)))


class AlexNet(nn.Module):
  """Small AlexNet with 1,387,786 parameters."""

  def __init__(self):
    super().__init__()
    self.convs = nn.ModuleList(
      nn.Conv2d(inputs, 64, 5, padding=2) for inputs in (3, 64)
    )
    widths = (7 * 7 * 64, 384, 192, 10)
    self.dense = nn.ModuleList(
      nn.Linear(a, b) for a, b in itertools.pairwise(widths)
    )

  def forward(self, x):
    for conv in self.convs:
      x = F.max_pool2d(F.relu(conv(x)), 3, 2, ceil_mode=True)
      x = F.local_response_norm(x, 9, alpha=0.001, beta=0.75, k=1.0)
    x = x.flatten(1)
    for dense in self.dense[:-1]:
      x = F.relu(dense(x))
    return self.dense[-1](x)


def mlp() -> nn.Module:
  """Returns an MLP with one hidden layer of 512: 1,209,866 parameters."""
  return nn.Sequential(
    nn.Flatten(), nn.Linear(28 * 28 * 3, 512), nn.ReLU(), nn.Linear(512, 10)
  )


MODELS = {"mlp_1x512": mlp, "alexnet": AlexNet, "inception": Inception}
