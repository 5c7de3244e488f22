"""The human labels of CIFAR-10N (Wei et al. 2022) as a CSV file.

  python docs/examples/human_labels.py labels.npz worse_label worst.csv
  python docs/examples/human_labels.py labels.npz worse_label worst.csv official

The archive has an array for each kind of label, in the order of CIFAR-10's
original batches: `clean_label`, `aggre_label`, `worse_label`, `random_label1`,
`random_label2`, `random_label3`. Without "official" the names are those of a
folder of images, <class>/<number of the image in its class>.jpg.
"""

import csv
import sys

import numpy as np

CLASSES = (
  *("airplane", "automobile", "bird", "cat", "deer"),
  *("dog", "frog", "horse", "ship", "truck"),
)


def write(archive: str, kind: str, path: str, official: bool = False) -> None:
  """Writes the labels of one kind, by the names of the images.

  Args:
    archive: the npz file.
    kind: an array in it.
    path: of the CSV file.
    official: name the images as the data set `cifar10` does.
  """
  with np.load(archive) as arrays:
    true, labels = arrays["clean_label"], arrays[kind]
  counts = dict.fromkeys(CLASSES, 0)
  with open(path, "w", newline="", encoding="utf-8") as file:
    rows = csv.writer(file)
    rows.writerow(["name", "label"])
    for position, (old, new) in enumerate(zip(true, labels, strict=True)):
      of_class = CLASSES[old]
      name = f"{of_class}/{counts[of_class]:04d}.jpg"
      counts[of_class] += 1
      if official:
        name = f"train_{position:05d}"
      rows.writerow([name, CLASSES[new]])


if __name__ == "__main__":
  write(*sys.argv[1:4], official="official" in sys.argv[4:])
