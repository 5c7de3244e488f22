"""Models that fit all labels by solving one linear system; arrays only.

Section 5 and appendix D of Zhang et al. (2017): kernels, features, a solver for
K alpha = Y, and measurements of the norm of its solution.
"""
