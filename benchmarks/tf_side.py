"""The tf.data side of input_pipeline.py, which starts this file.

Runs one pass of five seconds per line on stdin. Needs only the standard library
and TensorFlow, because it runs in an environment that has TensorFlow.
"""

import json
import pathlib
import resource
import sys
import time

try:
  import tensorflow as tf
except ImportError:
  sys.exit(f"TensorFlow is missing: {sys.executable} -m pip install tensorflow")


def random_crop(data, size):
  """Decodes a random crop and resizes it, as TensorFlow's Inception input."""
  box = tf.zeros([1, 0, 4])
  begin, extent, _ = tf.image.sample_distorted_bounding_box(
    tf.io.extract_jpeg_shape(data),
    box,
    min_object_covered=0.1,
    aspect_ratio_range=(0.75, 1.33),
    area_range=(0.05, 1.0),
    use_image_if_no_bounding_boxes=True,
  )
  window = tf.stack([begin[0], begin[1], extent[0], extent[1]])
  return resized(tf.image.decode_and_crop_jpeg(data, window, channels=3), size)


def central(data, size):
  """Decodes the image and resizes its central 87.5 %, as in evaluation."""
  image = tf.io.decode_jpeg(data, channels=3)
  return resized(tf.image.central_crop(image, 0.875), size)


def resized(image, size):
  return tf.cast(tf.image.resize(image, (size, size)), tf.uint8)


def main() -> None:
  folder, size, batch_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
  path = str(pathlib.Path(folder) / "images.tfrecord")
  with tf.io.TFRecordWriter(path) as writer:
    for image in sorted(pathlib.Path(folder).glob("*.jpg")):
      writer.write(image.read_bytes())
  print(json.dumps({"tensorflow": tf.__version__}), flush=True)
  for line in sys.stdin:
    function = {"random_crop": random_crop, "central": central}[line.strip()]
    dataset = (
      tf.data.TFRecordDataset(path)
      .repeat()
      .map(
        lambda data, f=function: f(data, size),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
      )
    )
    batches = iter(dataset.batch(batch_size).prefetch(2))
    next(batches)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    began, worked = time.perf_counter(), usage.ru_utime + usage.ru_stime
    count = 0
    while time.perf_counter() - began < 5:
      count += len(next(batches))
    seconds = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime + usage.ru_stime - worked
    sample = {"images": count, "seconds": seconds, "cpu_seconds": cpu}
    print(json.dumps(sample), flush=True)
    del batches


if __name__ == "__main__":
  main()
