#!/usr/bin/env bash
# All studies, small, on this machine without Slurm: some 15 minutes each on 2 idle cores.
# Needs `make .venv`, and 25 GB of disk. studies.sh FOLDER takes the data of FOLDER: see small.sh.
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/../.venv/bin:$PATH"

./small.sh "$@"
studies=(complexity correlation order) # complexity first: it measures tasks where they are trained; the others find them trained
[ ! -d data/domain_medical_tico19 ] || studies+=(alignment) # sample data have no parallel text
for study in "${studies[@]}"; do
  stepstone plan "study-$study.yaml"
  stepstone submit "study-$study.yaml" --wait
  stepstone study "$study" "study-$study.yaml"
done
[ ! -d data/tydiqa ] || ./study-prompts.sh "$@" # sample data have no text to learn words from
