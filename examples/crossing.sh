#!/usr/bin/env bash
# The main job on a real Slurm on this machine: makes a small real model, starts the dev cluster, runs crossing.yaml.
# Needs root on Debian/Ubuntu (for the cluster), `make .venv`, and data for crossing.yaml's data.root.
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/../.venv/bin:$PATH"

[ -d model ] || stepstone models small model --layers 4
stepstone devcluster up --install
eval "$(stepstone devcluster env)"

stepstone plan crossing.yaml
stepstone submit crossing.yaml --wait
stepstone collect crossing.yaml
