"""Stages, their graph, a content-addressed store and a runner. Knows nothing of language models.

Map: `stage` (what a stage is), `graph` (edges, order, fingerprints), `store` (artifacts on disk), `table` (resumable rows),
`worker` (one stage in a process of its own), `runner` (the whole graph), `leave` (ending early
with all work saved), `progress` and `view` (what the user sees meanwhile), `slurm` (the same graph as jobs of a cluster).
"""
