"""Every public function is an optimizer: gradients to a direction of descent.

The learning rate is applied by the training step, as in the SGD of 2016:
params -= learning_rate * direction. Float arguments may be traced.
"""

import optax


def sgd(
  momentum: float = 0.9, nesterov: bool = False
) -> optax.GradientTransformation:
  """Stochastic gradient descent with momentum (paper, appendix A)."""
  return optax.trace(decay=momentum, nesterov=nesterov)


def adam(
  b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
  """Adam (Kingma & Ba 2015)."""
  return optax.scale_by_adam(b1=b1, b2=b2, eps=eps)
