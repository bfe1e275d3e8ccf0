"""Thin adapters from typed settings to the plain functions of the other packages: one module a kind, its name is the kind."""
