"""How large a network is: what theory would have to bound (section 4)."""

import math
from typing import Any

import flax.linen as nn
import jax
import numpy as np


def of(model: nn.Module, params: Any) -> dict[str, float]:
  """What status.json says of the size of a network at the end.

  Args:
    model: its method `lipschitz_bound(params)`, if it has one, returns an upper
      bound on the Lipschitz constant from standardized images to logits, for
      Euclidean norms.
    params: of the model.

  Returns:
    `weight_norm`, the Euclidean norm of all parameters together; and
    `lipschitz_bound`, if the model knows one.
  """
  params = jax.device_get(params)
  squares = (
    np.sum(np.square(leaf, dtype=np.float64))
    for leaf in jax.tree.leaves(params)
  )
  found = {"weight_norm": math.sqrt(sum(squares))}
  bound = getattr(model, "lipschitz_bound", None)
  if bound is not None:
    found["lipschitz_bound"] = float(bound(params))
  return found
