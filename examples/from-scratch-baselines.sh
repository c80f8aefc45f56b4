#!/usr/bin/env bash
# Train the baseline that ships with druglike-xtb-10k again, with its curve: on a CPU, one thread.
#
#   examples/from-scratch-baselines.sh FOLDER
#
# Interrupted anywhere, the same command resumes.
set -euo pipefail

folder=${1:?"where to: examples/from-scratch-baselines.sh FOLDER"}
export OMP_NUM_THREADS=1
# glibc gives large blocks back to the system at once and asks for them again at the next layer: kept, an update takes a
# quarter less time. Nothing that is computed changes.
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=16000000000 MALLOC_TOP_PAD_=268435456

golfbench train --model painn:preset=small --dataset druglike-xtb-10k --delta mmff94 \
    --updates 8000 --batch-size 4 --learning-rate 0.002 --seed 0 \
    --logger csv --output "$folder/painn-small-delta-mmff94.safetensors"
