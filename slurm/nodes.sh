# shellcheck shell=bash disable=SC2034 # given to the stage below
# A training over several nodes: the stage runs on the first, starts torchrun on every one by srun, and they meet on the first.
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000)) # no two jobs of a node share it
export NCCL_DEBUG="${NCCL_DEBUG:-WARN}" TORCH_NCCL_ASYNC_ERROR_HANDLING="${TORCH_NCCL_ASYNC_ERROR_HANDLING:-1}"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK" # srun does not take it from the job
node_lost() { ! timeout 120 srun --overlap --ntasks-per-node=1 true; }
