"""The PyTorch side of benchmarks/train_step.py, in a process of its own.

Needs torchvision but not this package: `pip install torch torchvision`.
"""

import argparse
import json
import sys
import time

try:
  import torch
  import torchvision
except ImportError:
  sys.exit(
    f"torchvision is missing: {sys.executable} -m pip install torch torchvision"
  )
import torch.nn.functional as F


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument("--image_size", type=int, required=True)
  parser.add_argument("--batch_size", type=int, required=True)
  parser.add_argument("--dtype", required=True)
  parser.add_argument("--steps", type=int, required=True)
  parser.add_argument("--compiled", action="store_true")
  args = parser.parse_args()
  device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
  torch.backends.cudnn.benchmark = True
  torch.backends.cuda.matmul.allow_tf32 = True
  torch.manual_seed(0)
  model = torchvision.models.inception_v3(
    num_classes=1000, aux_logits=True, init_weights=False, dropout=0.0
  )
  model = model.to(device, memory_format=torch.channels_last)
  call = torch.compile(model) if args.compiled else model
  optimizer = torch.optim.SGD(
    model.parameters(), 0.001, momentum=0.9, fused=True
  )
  shape = (args.batch_size, args.image_size, args.image_size, 3)
  images = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
  labels = torch.arange(args.batch_size, device=device) % 1000
  bfloat16 = args.dtype == "bfloat16"

  def train(steps):
    for _ in range(steps):
      # A permuted NHWC array is in channels_last layout already: no copy.
      x = images.permute(0, 3, 1, 2).float() / 127.5 - 1
      with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        logits, auxiliary = call(x)
      loss = F.cross_entropy(logits.float(), labels)
      loss = loss + 0.4 * F.cross_entropy(auxiliary.float(), labels)
      optimizer.zero_grad()
      loss.backward()
      optimizer.step()
    loss.item()  # waits for the device

  train(3)
  facts = {
    "parameters": sum(p.numel() for p in model.parameters()),
    "version": f"torch {torch.__version__}",
  }
  print(json.dumps(facts), flush=True)
  for _ in sys.stdin:
    began = time.perf_counter()
    train(args.steps)
    sample = {
      "images": args.steps * args.batch_size,
      "seconds": time.perf_counter() - began,
      **facts,
    }
    print(json.dumps(sample), flush=True)


if __name__ == "__main__":
  main()
