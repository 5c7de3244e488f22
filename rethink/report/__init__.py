"""A pure view over run directories: tables, figures, a page.

It reads what training has logged and computes no result of its own; what is
missing is a dash. Imports neither JAX nor anything that trains.
"""
