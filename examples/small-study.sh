#!/usr/bin/env bash
# The small study on a real Slurm on this machine: a table that means something, in some two hours on 2 cores that do nothing else.
# Needs root on Debian/Ubuntu (for the cluster) and `make .venv`. small-study.sh FOLDER takes the data of FOLDER: see small.sh.
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/../.venv/bin:$PATH"

./small.sh "$@"
[ -d model-12 ] || stepstone models small model-12
stepstone devcluster up --install
eval "$(stepstone devcluster env)"

stepstone plan small-study.yaml
stepstone submit small-study.yaml --wait
stepstone table small-study.yaml
stepstone report small-study.yaml
