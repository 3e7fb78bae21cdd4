#!/usr/bin/env bash
# The three studies that are drawn from trained stages, small, on this machine without Slurm: some 15 minutes on 2 idle cores.
# Needs `make .venv`, and 25 GB of disk. studies.sh FOLDER takes the data of FOLDER: see small.sh.
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/../.venv/bin:$PATH"

./small.sh "$@"
# Complexity first: tasks are measured where they are trained, and the others find these trainings done.
for study in complexity correlation order; do
  stepstone plan "study-$study.yaml"
  stepstone submit "study-$study.yaml" --wait
  stepstone study "$study" "study-$study.yaml"
done
