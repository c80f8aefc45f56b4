#!/bin/bash
# One shard of a run for each task of a job array. Submit it with the configuration:
#
#   job=$(sbatch --parsable examples/slurm/array.sh leaderboards/druglike-xtb/reproduce.yaml)
#   sbatch --dependency=afterany:$job examples/slurm/merge.sh leaderboards/druglike-xtb/reproduce.yaml
#
# Sent again, it goes on where it stopped: keep the number of tasks, which is the number of shards.
#SBATCH --job-name=golfbench
#SBATCH --array=1-8
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=4G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
#SBATCH --open-mode=append
#SBATCH --output=golfbench-%A_%a.log
set -uo pipefail

# On a file system that all nodes see; a run, its shards and what they share lie there.
export GOLFBENCH_OUTPUT="${GOLFBENCH_OUTPUT:-runs}"
# Scratch of the engines: the disk of the node, where the site says which folder of it is the job's.
if [ -n "${SLURM_TMPDIR:-}" ]; then export TMPDIR="$SLURM_TMPDIR"; fi
# One thread for each engine and for the network: --workers shares out the cores, and training is repeatable to the bit.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

golfbench run "$1" --shard slurm --workers "${SLURM_CPUS_PER_TASK:-1}" &
run=$!
trap 'told=yes; kill -TERM "$run" 2>/dev/null' TERM
while
    told=
    wait "$run"
    code=$?
    [ -n "$told" ] # the signal has ended the wait, not yet the run
do :; done
# 130: told to end before it was done, because the time is over or the node is wanted by others.
if [ "$code" -eq 130 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
