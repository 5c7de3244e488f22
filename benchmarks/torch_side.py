"""The PyTorch sides of benchmarks/epoch.py, each in a process of its own.

Needs PyTorch and NumPy but not this package: `pip install torch`.
"""

import argparse
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
try:
  import torch
except ImportError:
  sys.exit(f"PyTorch is missing: {sys.executable} -m pip install torch")
import serve
import torch.nn.functional as F
import torch_models

_SIZE = 28
_DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Images(torch.utils.data.Dataset):
  """A data set that crops and normalizes each image, as torchvision does."""

  def __init__(self, images, labels):
    self._images, self._labels = images, labels
    self._mean = torch.tensor([0.491, 0.482, 0.447])[:, None, None]
    self._std = torch.tensor([0.247, 0.243, 0.262])[:, None, None]

  def __len__(self):
    return len(self._images)

  def __getitem__(self, i):
    edge = (self._images.shape[1] - _SIZE) // 2
    image = self._images[i, edge : edge + _SIZE, edge : edge + _SIZE]
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255
    return (tensor - self._mean) / self._std, int(self._labels[i])


class Demo:
  """The loop of public demos: one loader worker, two `.item()` per step."""

  def __init__(self, model, images, labels, batch_size):
    self._model = model
    data = Images(images, labels)
    kwargs = dict(batch_size=batch_size, num_workers=1)
    self._train = torch.utils.data.DataLoader(data, shuffle=True, **kwargs)
    self._clean = torch.utils.data.DataLoader(data, **kwargs)
    self._optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

  def train(self):
    self._model.train()
    loss_sum = correct_sum = 0.0
    for images, labels in self._train:
      images, labels = images.to(_DEVICE), labels.to(_DEVICE)
      logits = self._model(images)
      loss = F.cross_entropy(logits, labels)
      self._optimizer.zero_grad()
      loss.backward()
      self._optimizer.step()
      loss_sum += loss.item()
      correct_sum += (logits.argmax(1) == labels).float().mean().item()

  @torch.no_grad()
  def evaluate(self):
    self._model.eval()
    loss_sum = correct_sum = 0.0
    for images, labels in self._clean:
      images, labels = images.to(_DEVICE), labels.to(_DEVICE)
      logits = self._model(images)
      loss_sum += F.cross_entropy(logits, labels).item()
      correct_sum += (logits.argmax(1) == labels).float().mean().item()


class Resident:
  """The fastest that we know: data on the device, nothing read in an epoch."""

  def __init__(self, model, images, labels, batch_size, dtype, compiled):
    edge = (images.shape[1] - _SIZE) // 2
    images = images[:, edge : edge + _SIZE, edge : edge + _SIZE]
    self._images = torch.from_numpy(images.copy()).to(_DEVICE)
    self._labels = torch.from_numpy(labels.astype(np.int64)).to(_DEVICE)
    self._batch_size, self._dtype = batch_size, dtype
    self._model = model.to(memory_format=torch.channels_last)
    self._call = torch.compile(self._model) if compiled else self._model
    self._optimizer = torch.optim.SGD(
      model.parameters(), 0.01, momentum=0.9, fused=True
    )

  def _logits(self, index):
    # A permuted NHWC array is in channels_last layout already: no copy.
    x = self._images[index].permute(0, 3, 1, 2).float() / 255
    std, mean = torch.std_mean(x, (1, 2, 3), correction=0, keepdim=True)
    x = (x - mean) / std.clamp(min=(3 * _SIZE * _SIZE) ** -0.5)
    bfloat16 = self._dtype == torch.bfloat16
    with torch.autocast(_DEVICE.type, torch.bfloat16, enabled=bfloat16):
      return self._call(x).float()

  def train(self):
    self._model.train()
    order = torch.randperm(len(self._labels), device=_DEVICE)
    loss_sum = torch.zeros((), device=_DEVICE)
    for index in order.split(self._batch_size):
      loss = F.cross_entropy(self._logits(index), self._labels[index])
      self._optimizer.zero_grad()
      loss.backward()
      self._optimizer.step()
      loss_sum += loss.detach()
    loss_sum.item()

  @torch.no_grad()
  def evaluate(self):
    self._model.eval()
    correct = torch.zeros((), device=_DEVICE)
    for index in torch.arange(len(self._labels), device=_DEVICE).split(512):
      correct += (self._logits(index).argmax(1) == self._labels[index]).sum()
    correct.item()


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument("--data", required=True)
  parser.add_argument("--model", required=True)
  parser.add_argument("--side", required=True)
  parser.add_argument("--batch_size", type=int, required=True)
  args = parser.parse_args()
  data = np.load(args.data)
  images, labels = data["images"], data["labels"]
  torch.backends.cudnn.benchmark = True
  torch.backends.cuda.matmul.allow_tf32 = True
  torch.manual_seed(0)
  model = torch_models.MODELS[args.model]().to(_DEVICE)
  if args.side == "torch_demo":
    side = Demo(model, images, labels, args.batch_size)
  else:
    bfloat16 = "bfloat16" in args.side
    side = Resident(
      model,
      images,
      labels,
      args.batch_size,
      torch.bfloat16 if bfloat16 else torch.float32,
      "compiled" in args.side,
    )

  # Both functions end by reading a result, which waits for the device.
  cuda = _DEVICE.type == "cuda"
  serve.serve(
    side.train,
    side.evaluate,
    parameters=sum(p.numel() for p in model.parameters()),
    version=f"torch {torch.__version__}",
    device=torch.cuda.get_device_name() if cuda else "cpu",
  )


if __name__ == "__main__":
  main()
