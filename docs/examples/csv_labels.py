"""Noisy labels of one's own for the digits: a CSV file of names and labels.

  python -m rethink.prepare digits
  python docs/examples/csv_labels.py noisy_digits.csv
  python -m rethink.main --config=configs/base.py \
    --config.corruptions='("labels_from_file(\"noisy_digits.csv\")",)'
"""

import csv
import os
import sys

from rethink.pipeline import datasets

DATA_DIR = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")


def write(path: str, data_dir: str = DATA_DIR) -> None:
  """Writes labels by somebody who takes every fourth 3 and 8 for the other."""
  digits = datasets.load("digits", data_dir)
  names, labels = digits.names["train"], digits.splits["train"].label
  swapped = {3: 8, 8: 3}
  with open(path, "w", newline="", encoding="utf-8") as file:
    rows = csv.writer(file)
    rows.writerow(["name", "label"])
    for row, (name, label) in enumerate(zip(names, labels, strict=True)):
      mistaken = label in swapped and row % 4 == 0
      rows.writerow([name, swapped[label] if mistaken else label])


if __name__ == "__main__":
  write(sys.argv[1])
