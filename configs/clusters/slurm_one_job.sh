#!/bin/bash
# Scheduler, workers and driver inside ONE Slurm job: for sites that do not let jobs submit jobs.
#   sbatch configs/clusters/slurm_one_job.sh volume.zarr [more options of `run`]
# Killed or out of time: submit the same line again, finished blocks are kept.
#
# CHANGE what is marked. A task of the job is one worker; the GPU line may go.
#SBATCH --job-name=neurons
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=8G
#SBATCH --time=24:00:00
##SBATCH --partition=normal
set -euo pipefail

PYTHON=python          # CHANGE: e.g. $HOME/neurons/bin/python
INTERFACE=ib0          # CHANGE: see `ip addr` on a compute node
MEMORY=8GiB            # of one worker, as --mem-per-cpu

mkdir -p cluster-logs
LOG=cluster-logs/neurons-$SLURM_JOB_ID.log       # of scheduler and workers; the run's is slurm-*.out
FOLDER=$(mktemp -d "$PWD/.neurons-job-XXXXXX")   # where all nodes can read it
chmod 700 "$FOLDER"
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$FOLDER"' EXIT

# The run counts deaths of workers itself, and workers hold no results that could be spilled.
export DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0
export DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=6h
export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False
export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False

# TLS: without it whoever can reach the node can run programs as you (docs/cluster.md).
PROTOCOL=tcp
if [ -f "$HOME/.neurons-tls/run.pem" ]; then
    PROTOCOL=tls
    export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
    export DASK_DISTRIBUTED__COMM__TLS__CA_FILE=$HOME/.neurons-tls/ca.pem
    for role in SCHEDULER WORKER CLIENT; do
        export DASK_DISTRIBUTED__COMM__TLS__${role}__CERT=$HOME/.neurons-tls/run.pem
        export DASK_DISTRIBUTED__COMM__TLS__${role}__KEY=$HOME/.neurons-tls/run.key
    done
fi

$PYTHON -m distributed.cli.dask_scheduler --protocol $PROTOCOL --interface $INTERFACE --port 0 \
    --dashboard-address 127.0.0.1:0 --scheduler-file "$FOLDER/scheduler.json" >> "$LOG" 2>&1 &
for _ in $(seq 120); do [ -s "$FOLDER/scheduler.json" ] && break; sleep 1; done
ADDRESS=$($PYTHON -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' \
    "$FOLDER/scheduler.json")

srun --kill-on-bad-exit=0 $PYTHON -m distributed.cli.dask_worker "$ADDRESS" \
    --protocol $PROTOCOL --interface $INTERFACE --nthreads 1 --memory-limit $MEMORY \
    --dashboard-address 127.0.0.1:0 --no-dashboard --death-timeout 120 \
    >> "$LOG" 2>&1 &

$PYTHON -m pipeline run "$@" --scheduler "$ADDRESS" --memory $MEMORY
