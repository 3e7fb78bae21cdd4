#!/usr/bin/env bash
# Do intermediate training and prompts add up? study-prompts.yaml, small, on this machine without Slurm: some 15 minutes on 2 idle
# cores, the model's head for words included. Needs `make .venv`. study-prompts.sh FOLDER takes the data of FOLDER: see small.sh.
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/../.venv/bin:$PATH"

./small.sh "$@"
python study_prompts.py data data-prompts
if [ ! -d model-prompts ]; then
  stepstone submit study-prompts-model.yaml --wait
  stepstone publish study-prompts-model.yaml mlm-s1 model-prompts --head mlm
fi
stepstone plan study-prompts.yaml
stepstone submit study-prompts.yaml --wait
stepstone study prompts study-prompts.yaml
