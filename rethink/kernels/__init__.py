"""Models that interpolate by solving one linear system; arrays only.

Section 5 and appendix D of Zhang et al. (2017): kernels, features, the solver
of K alpha = Y, and what the norm of its solution says and does not say.
"""
