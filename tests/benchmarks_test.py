"""The benchmarks run, and their files hold what their tables say."""

import json
import sys

import pytest

from benchmarks import (
  checkpoint,
  epoch,
  input_pipeline,
  peers,
  record,
  startup,
  train_step,
)
from rethink.prepare import folder
from tests import photos
from tests.conftest import ROOT, clean_environment, python


@pytest.fixture
def noise(tmp_path):
  """A data_dir with 60 images of CIFAR-10's shape."""
  code = f"""
import numpy as np
from rethink.prepare import arrays, writer
x = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
y = np.arange(60) % 10
np.savez("{tmp_path}/noise.npz", x_train=x, y_train=y, x_test=x, y_test=y)
source = arrays.source("{tmp_path}/noise.npz")
writer.write("noise", source, "{tmp_path}")
"""
  done = python("-c", code)
  assert done.returncode == 0, done.stderr
  return tmp_path


def test_an_epoch_is_measured_and_not_measured_twice(noise, monkeypatch):
  monkeypatch.setattr("os.environ", clean_environment())
  out = noise / "epoch.json"
  args = ["--dataset=noise", f"--data_dir={noise}", f"--out={out}"]
  args += ["--models", "mlp_1x512", "--sides", "rethink", "jax_plain"]
  args += ["--examples=60", "--batch_size=20", "--rounds=1"]
  epoch.main(args)
  first = out.read_text()
  samples = json.loads(first)["samples"]
  assert [s["side"] for s in samples] == ["rethink", "jax_plain"]
  for sample in samples:
    assert sample["parameters"] == 1_209_866
    assert 0 < sample["train_seconds"] < sample["epoch_seconds"]
    assert sample["train_cpu_seconds"] > 0
  epoch.main(args)
  assert out.read_text() == first


def test_a_peer_answers_until_it_ends():
  code = """
print('noise')
print('{"warm": 1}', flush=True)
print('noise', {"read": input()})
print('{"seconds": 2}', flush=True)
exit(3)
"""
  with pytest.raises(ChildProcessError, match="exit code 4"):
    peers.Peer([sys.executable, "-c", "print('noise'); exit(4)"])
  peer = peers.Peer([sys.executable, "-c", code])
  assert peer.facts == {"warm": 1}
  assert peer.ask("go") == {"seconds": 2}
  with pytest.raises(ChildProcessError, match="exit code 3"):
    peer.ask("go")
  peer.close()


def test_a_side_without_pytorch_says_what_to_install(tmp_path):
  (tmp_path / "torch.py").write_text("raise ImportError")
  side = str(ROOT / "benchmarks/torch_side.py")
  done = python(side, PYTHONPATH=str(tmp_path))
  assert done.returncode == 1
  install = f"{sys.executable} -m pip install torch"
  assert done.stderr == f"PyTorch is missing: {install}\n"


def test_pytorch_models_have_the_papers_parameter_counts():
  pytest.importorskip("torch")
  from benchmarks import torch_models

  counts = {
    name: sum(p.numel() for p in model().parameters())
    for name, model in torch_models.MODELS.items()
  }
  assert counts == {
    "mlp_1x512": 1_209_866,
    "alexnet": 1_387_786,
    "inception": 1_649_402,
  }


def test_a_save_is_measured(tmp_path, capsys):
  out = tmp_path / "checkpoint.json"
  checkpoint.main(["--models", "mlp_3x512", "--rounds=1", f"--out={out}"])
  (sample,) = json.loads(out.read_text())["samples"]
  assert 0 < sample["blocked_seconds"] < sample["saved_seconds"]
  assert sample["restored_seconds"] > 0
  assert sample["bytes"] > 2 * 4 * 1_735_178  # parameters and momentum
  assert "| mlp_3x512 | " in capsys.readouterr().out


def test_startup_is_measured(tmp_path, capsys):
  out = tmp_path / "startup.json"
  startup.main(["--rounds=1", f"--out={out}", "--models"])
  (sample,) = json.loads(out.read_text())["samples"]
  assert sample["what"] == "--help" and sample["seconds"] > 0
  startup.main(["--compile_only=mlp_1x512"])
  assert float(capsys.readouterr().out.splitlines()[-1]) > 0


def test_a_record_of_other_settings_is_refused(tmp_path):
  path = str(tmp_path / "x.json")
  record.Record(path, {"examples": 1}).add(side="a", seconds=1.0)
  again = record.Record(path, {"examples": 1})
  assert again.has(side="a") and not again.has(side="b")
  with pytest.raises(SystemExit, match="other settings"):
    record.Record(path, {"examples": 2})


def test_the_stream_path_is_measured(tmp_path, monkeypatch, capsys):
  photos.tree(tmp_path / "images")
  folder.prepare(
    "mixed", str(tmp_path / "images"), str(tmp_path), skip_damaged=False
  )
  monkeypatch.setattr(input_pipeline, "SECONDS", 0.01)
  out = tmp_path / "input.json"
  args = ["--dataset=mixed", f"--data_dir={tmp_path}", f"--out={out}"]
  args += ["--image_size=32", "--batch_size=4", "--rounds=2"]
  input_pipeline.main(args)
  samples = json.loads(out.read_text())["samples"]
  assert [s["side"] for s in samples] == 2 * list(input_pipeline.SIDES)
  assert all(s["images"] > 0 and s["cpu_seconds"] > 0 for s in samples)
  assert "images per CPU second" in capsys.readouterr().out


def test_a_side_without_tensorflow_says_what_to_install(tmp_path):
  (tmp_path / "tensorflow.py").write_text("raise ImportError")
  side = str(ROOT / "benchmarks/tf_side.py")
  done = python(side, PYTHONPATH=str(tmp_path))
  assert done.returncode == 1
  install = f"{sys.executable} -m pip install tensorflow"
  assert done.stderr == f"TensorFlow is missing: {install}\n"


@pytest.mark.slow
def test_a_step_of_inception_v3_is_measured(tmp_path, capsys):
  photos.tree(tmp_path / "images")
  folder.prepare(
    "mixed", str(tmp_path / "images"), str(tmp_path), skip_damaged=False
  )
  out = tmp_path / "step.json"
  args = ["--dataset=mixed", f"--data_dir={tmp_path}", f"--out={out}"]
  args += ["--image_size=75", "--batch_size=4", "--width=0.125", "--steps=1"]
  args += ["--warm_steps=1"]
  train_step.main([*args, "--rounds=1", "--dtype=float32"])
  samples = json.loads(out.read_text())["samples"]
  assert [s["side"] for s in samples] == list(train_step.SIDES)
  assert all(s["images"] == 4 and s["seconds"] > 0 for s in samples)
  assert "of synthetic" in capsys.readouterr().out
