import http.server
import json
import threading

import pytest

from rethink import errors
from rethink.prepare import archives, official
from tests import archives as small
from tests import conftest

# The command line on small archives, which take the place of the official ones.
_MAIN = """
import json, sys
from absl import app
from rethink import cli
from rethink.prepare import __main__ as prepare, archives
content = json.loads(sys.argv.pop(1))
archives.registered = lambda name: {
  filename: archives.Registered(*archive)
  for filename, archive in content.items()
}
app.run(prepare.main, flags_parser=cli.parse_flags)
"""


def main(content, *args, **env):
  """Runs `python -m rethink.prepare args`, where `content` is registered."""
  return conftest.python("-c", _MAIN, json.dumps(content), *args, **env)


def test_what_is_registered_comes_from_tfds():
  for name in official.CONTENT:
    for filename, archive in archives.registered(name).items():
      assert archive.url.startswith("http")
      assert archive.url.endswith(f"/{filename}")
      assert archive.size > 4000 and len(archive.sha256) == 64


def test_the_genuine_archives_are_the_registered_ones(fashion_mnist, tmp_path):
  files = archives.read("fashion_mnist", str(fashion_mnist), str(tmp_path))
  assert len(files) == 4
  for filename, data in files.items():
    assert data == (fashion_mnist / filename).read_bytes()
  assert not list(tmp_path.iterdir())


def test_another_data_sets_archives_are_refused(fashion_mnist, tmp_path):
  with pytest.raises(errors.DataError) as caught:  # the names are the same
    archives.read("mnist", str(fashion_mnist), str(tmp_path))
  assert str(caught.value).count("is changed") == 4


def _cut(path):
  path.write_bytes(path.read_bytes()[:-1])


def _flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def _replace(path):
  path.unlink()
  path.mkdir()


@pytest.mark.parametrize("name", official.CONTENT)
@pytest.mark.parametrize(
  ("damage", "message"),
  [
    (_cut, "is changed"),
    (_flip, "is changed"),
    (_replace, "cannot be read"),
    (lambda path: path.unlink(), "is missing"),
  ],
)
def test_a_bad_archive_is_named_with_what_is_wanted(
  name, damage, message, tmp_path
):
  folder = tmp_path / "archives"
  content = small.make(name, folder)
  for filename, archive in content.items():
    small.make(name, folder)
    damage(folder / filename)
    with (
      small.registered(content),
      pytest.raises(errors.DataError) as caught,
    ):
      official.prepare(name, str(tmp_path / "data"), str(folder))
    said = str(caught.value)
    assert f"{folder / filename} {message}" in said
    assert f"{archive.size} bytes, sha256 {archive.sha256}" in said
    assert f"from {archive.url}" in said
    assert len(said.splitlines()) == 1  # the other archives are as they were
    assert not (tmp_path / "data" / name).exists()
    if damage is _replace:
      (folder / filename).rmdir()


def test_the_command_names_all_that_is_missing_and_exits_4(tmp_path):
  done = conftest.python(
    "-m",
    "rethink.prepare",
    "mnist",
    f"--archives={tmp_path / 'nowhere'}",
    f"--data_dir={tmp_path / 'data'}",
  )
  assert done.returncode == 4
  assert "Traceback" not in done.stderr
  for filename, archive in archives.registered("mnist").items():
    assert f"nowhere/{filename} is missing" in done.stderr
    assert archive.sha256 in done.stderr and archive.url in done.stderr


def test_without_network_the_message_says_what_to_bring(tmp_path):
  closed = "http://127.0.0.1:9"
  done = conftest.python(
    "-m",
    "rethink.prepare",
    "cifar10",
    f"--data_dir={tmp_path}",
    https_proxy=closed,
    http_proxy=closed,
    no_proxy="",
  )
  assert done.returncode == 4
  assert "Traceback" not in done.stderr
  assert "cannot be downloaded" in done.stderr
  assert "rethink.prepare cifar10 --archives=FOLDER" in done.stderr
  ((filename, archive),) = archives.registered("cifar10").items()
  assert f"{filename}: {archive}" in done.stderr
  assert not list(tmp_path.glob("*/**"))


class _Handler(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *args):
    pass


class _Server(http.server.ThreadingHTTPServer):
  def handle_error(self, *args):
    pass  # a client that has heard enough hangs up


@pytest.fixture
def served(tmp_path, monkeypatch):
  """(registered archives of mnist at a real server, the folder it serves)."""
  monkeypatch.setenv("no_proxy", "*")
  folder = tmp_path / "served"
  content = small.make("mnist", folder)

  def handler(*args):
    return _Handler(*args, directory=str(folder))

  server = _Server(("127.0.0.1", 0), handler)
  thread = threading.Thread(target=server.serve_forever)
  thread.start()
  address = f"http://127.0.0.1:{server.server_port}"
  yield (
    {
      filename: archive._replace(url=f"{address}/{filename}")
      for filename, archive in content.items()
    },
    folder,
  )
  server.shutdown()
  thread.join()
  server.server_close()


def _downloads(data_dir):
  return {p.name: p.read_bytes() for p in data_dir.glob("downloads/mnist/*")}


def test_a_download_is_verified_and_kept(served, tmp_path):
  content, folder = served
  data = tmp_path / "data"
  done = main(content, "mnist", f"--data_dir={data}", no_proxy="*")
  assert done.returncode == 0, done.stderr
  assert "mnist 3.0.1: train 70, test 23" in done.stdout
  assert _downloads(data) == {p.name: p.read_bytes() for p in folder.iterdir()}


def test_what_was_downloaded_is_not_downloaded_again(served, tmp_path):
  content, folder = served
  with small.registered(content):
    first = archives.read("mnist", None, str(tmp_path / "data"))
    for path in folder.iterdir():
      path.unlink()
    assert archives.read("mnist", None, str(tmp_path / "data")) == first


def test_a_download_that_was_damaged_on_disk_is_made_again(served, tmp_path):
  content, _ = served
  with small.registered(content):
    whole = archives.read("mnist", None, str(tmp_path / "data"))
    _flip(next((tmp_path / "data" / "downloads" / "mnist").iterdir()))
    assert archives.read("mnist", None, str(tmp_path / "data")) == whole


@pytest.mark.parametrize("damage", [_cut, _flip])
def test_a_wrong_download_is_refused_and_not_kept(damage, served, tmp_path):
  content, folder = served
  victim = "train-labels-idx1-ubyte.gz"
  damage(folder / victim)
  done = main(content, "mnist", f"--data_dir={tmp_path}/data", no_proxy="*")
  assert done.returncode == 4
  assert f"{content[victim].url} is changed" in done.stderr
  assert victim not in "".join(_downloads(tmp_path / "data"))
  assert not (tmp_path / "data" / "mnist").exists()


def test_a_longer_download_is_not_read_to_its_end(served, tmp_path):
  content, folder = served
  victim = "train-labels-idx1-ubyte.gz"
  with (folder / victim).open("ab") as file:
    file.truncate(1 << 24)
  with small.registered(content), pytest.raises(errors.DataError) as caught:
    archives.read("mnist", None, str(tmp_path / "data"))
  assert f"({content[victim].size + 1} bytes" in str(caught.value)


def test_a_file_that_is_not_served_is_named(served, tmp_path):
  content, folder = served
  (folder / "t10k-labels-idx1-ubyte.gz").unlink()
  with small.registered(content), pytest.raises(errors.DataError) as caught:
    archives.read("mnist", None, str(tmp_path / "data"))
  assert "t10k-labels-idx1-ubyte.gz cannot be downloaded" in str(caught.value)
  assert "404" in str(caught.value)
