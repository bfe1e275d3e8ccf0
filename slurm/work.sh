# shellcheck shell=bash
# Slurm's warning before the time limit asks the work to leave; what leaves with its work saved queues again for the rest.
trap 'woken=yes; warned=yes; touch "$MAGPIE_LEAVE"' USR1
trap 'woken=yes; warned=' TERM # cancelled or preempted: Slurm itself knows what becomes of the job
rm -f "$MAGPIE_LEAVE"
work &
while
    woken=
    wait $!
    code=$?
    [ -n "$woken" ] # by a signal: the work goes on
do :; done
rm -f "$MAGPIE_LEAVE"
if [ "$code" -ne 0 ] && declare -F node_lost >/dev/null && node_lost; then
    code=75 warned=yes # the failure of a node reaches the work before Slurm knows of it
fi
if [ "$code" -eq 75 ] && [ -n "${warned:-}" ]; then
    for pause in 5 15 45; do
        scontrol requeue "$SLURM_JOB_ID" && sleep 60 # which ends it
        sleep "$pause"
    done
fi
exit "$code"
