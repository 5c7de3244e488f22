"""Configs: one file per base, and one per table or figure."""
