#!/bin/bash
# Joins the shards of a run, or says what is missing; takes the configuration that array.sh was given.
#SBATCH --job-name=golfbench-merge
#SBATCH --ntasks=1
#SBATCH --mem=4G
#SBATCH --time=01:00:00
#SBATCH --output=golfbench-merge-%j.log
set -euo pipefail

plan=$(golfbench run "$1" --dry-run --json)
name=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["run_id"])' <<<"$plan")
golfbench merge "${GOLFBENCH_OUTPUT:-runs}/$name"
