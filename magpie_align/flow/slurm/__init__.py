"""A graph as jobs of a Slurm cluster.

Map: `profile` (the cluster in words: what a job may ask for), `jobs` (graph to jobs: arrays, finishes, chains and their edges),
`script` (a job as a batch script, its body from the folder `slurm/`), `queue` (what Slurm knows: sbatch, squeue, scancel),
`submission` (the folder that holds the frozen recipe, scripts, logs, starts and failures), `state` (what each stage is doing).
"""
