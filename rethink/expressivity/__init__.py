"""Networks that fit any n points, computed rather than trained.

  network = construct.fit(points, values)           # Theorem 1: d + 2n weights
  network = construct.fit(points, values, depth=k)  # Corollary 1: width O(n/k)
  certificate.certify(network, points, values)

Everything works on NumPy arrays on the host. `docs/expressivity.md` has the
proofs and the measurements.
"""
