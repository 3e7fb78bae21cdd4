#!/usr/bin/env bash
# The main job on a real Slurm on this machine: a small real model, the dev cluster, crossing.yaml. 17 minutes on 2 cores.
# Needs root on Debian/Ubuntu (for the cluster) and `make .venv`. crossing.sh FOLDER takes the data of FOLDER: see small.sh.
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/../.venv/bin:$PATH"

./small.sh "$@"
stepstone devcluster up --install
eval "$(stepstone devcluster env)"

stepstone plan crossing.yaml
stepstone submit crossing.yaml --wait
stepstone collect crossing.yaml
