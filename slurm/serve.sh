# shellcheck shell=bash disable=SC2154 # the arrays are made below
# A model over all nodes of the job by vLLM's own means; the stage asks it at http://127.0.0.1:8000/v1 on the first node.
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000)) # no two jobs of a node share it
export MASTER_ADDR MASTER_PORT NCCL_DEBUG="${NCCL_DEBUG:-WARN}"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK" # srun does not take it from the job
node_lost() { ! timeout 120 srun --overlap --ntasks-per-node=1 true; }
served() {
    # shellcheck disable=SC2016 # each node has its own number
    "${each_node[@]}" --kill-on-bad-exit=1 bash -c '
        [ "$SLURM_NODEID" -eq 0 ] || headless=--headless
        exec "$@" --nnodes "$SLURM_JOB_NUM_NODES" --node-rank "$SLURM_NODEID" --master-addr "$MASTER_ADDR" \
            --master-port "$MASTER_PORT" --host 127.0.0.1 --port 8000 ${headless:-}' node "${server[@]}" &
    local served=$! code
    until curl --silent --fail http://127.0.0.1:8000/health; do
        kill -0 "$served" || return 1
        sleep 5
    done
    "$@"
    code=$?
    kill "$served"
    return "$code"
}
