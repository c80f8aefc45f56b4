#!/usr/bin/env bash
# Train the baselines that ship with druglike-xtb-10k again, with their curves: on a CPU, one thread.
#
#   examples/from-scratch-baselines.sh FOLDER
#
# Interrupted anywhere, the same command resumes.
set -euo pipefail

folder=${1:?"where to: examples/from-scratch-baselines.sh FOLDER"}
export OMP_NUM_THREADS=1

golfbench train --model painn:preset=small --dataset druglike-xtb-10k --delta mmff94 \
    --updates 10000 --batch-size 4 --learning-rate 0.002 --seed 0 \
    --logger csv --output "$folder/painn-small-delta-mmff94.safetensors"
golfbench train --model mace:preset=small --dataset druglike-xtb-10k --delta mmff94 \
    --updates 10000 --batch-size 4 --learning-rate 0.001 --seed 0 \
    --logger csv --output "$folder/mace-small-delta-mmff94.safetensors"
golfbench train --model painn --dataset druglike-xtb-10k --delta mmff94 \
    --updates 10000 --batch-size 4 --learning-rate 0.001 --seed 0 \
    --logger csv --output "$folder/painn-delta-mmff94.safetensors"
golfbench train --model painn --dataset druglike-xtb-10k \
    --updates 10000 --batch-size 4 --learning-rate 0.001 --seed 0 \
    --logger csv --output "$folder/painn.safetensors"
