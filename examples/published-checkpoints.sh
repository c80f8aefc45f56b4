#!/usr/bin/env bash
# Judge the published checkpoints of GOLF on druglike-dft: the molecules are small and not those of the paper, the level
# of theory is the paper's. Nothing is trained. The checkpoints are not in the repository: they are published by the
# authors (github.com/AIRI-Institute/GOLF), and tests find them, too, in $GOLFBENCH_REFERENCE_DATA/golf-checkpoints.
#
#     examples/published-checkpoints.sh FOLDER
#
# 18 oracle calls for each checkpoint; interrupted, the same command resumes.
set -euo pipefail

folder=${1:-${GOLFBENCH_REFERENCE_DATA:?give the folder of the checkpoints}/golf-checkpoints}
for name in baseline-NNP traj-10k GOLF-1k; do
    golfbench run --model painn --checkpoint "$folder/$name.pt" --checkpoint-format golf --dataset druglike-dft \
        --oracle psi4 --budget 0 --reference mmff94 "${@:2}"
done
