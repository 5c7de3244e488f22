"""Reports: tables, figures and a page, made from run directories alone.

A report shows what training has logged and computes no result of its own; a
missing number is a dash. Nothing here imports JAX or training code, so that a
report can be made on any machine.
"""
