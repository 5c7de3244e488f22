"""Every public function is an optimizer: gradients to a direction of descent.

The learning rate is applied by the training step, as in the SGD of 2016:
params -= learning_rate * direction. Float arguments may be traced.
"""

import optax

from rethink import specs


def sgd(
  momentum: specs.Fraction = 0.9, nesterov: bool = False
) -> optax.GradientTransformation:
  """Stochastic gradient descent with momentum (paper, appendix A)."""
  return optax.trace(decay=momentum, nesterov=nesterov)


def adam(
  b1: specs.Fraction = 0.9,
  b2: specs.Fraction = 0.999,
  eps: specs.NotNegative = 1e-8,
) -> optax.GradientTransformation:
  """Adam (Kingma & Ba 2015)."""
  return optax.scale_by_adam(b1=b1, b2=b2, eps=eps)


def rmsprop(
  decay: specs.Fraction = 0.9,
  momentum: specs.Fraction = 0.9,
  epsilon: specs.NotNegative = 1.0,
) -> optax.GradientTransformation:
  """TensorFlow's RMSProp with the numbers of its Inception V3 of 2016.

  Mean squares start at 1 and epsilon is added under the root. TensorFlow's
  momentum sums steps, this one directions: the same until the learning rate
  falls, whose effect there comes a few steps later.
  """
  return optax.chain(
    optax.scale_by_rms(decay, epsilon, initial_scale=1.0, eps_in_sqrt=True),
    optax.trace(decay=momentum),
  )
