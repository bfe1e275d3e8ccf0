"""Magpie end to end: synthesise alignment data from an aligned model and nothing else, train on it, evaluate, compare.

Map: `cli` (verbs) > `recipe` (YAML to a typed graph) > `stages` (thin adapters) > `synthesis`, `curation`, `training`,
`evaluation`, `report`, `mini` (plain functions) > `engines` (generation), `flow` (graph, store, runner) > `settings`,
`records`, `errors`.
"""

__version__ = "0.1.0"
