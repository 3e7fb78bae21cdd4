#!/usr/bin/env bash
# What crossing.yaml and every-task.yaml use: ./model, a small real XLM-R, and ./data, a link to the folder named, else to
# ../../shared/data where that is, else generated sample data (of templates: they show the way, not languages).
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/../.venv/bin:$PATH"

folder=$(realpath "${1:-../../shared/data}")
[ -d model ] || stepstone models small model --layers 4
[ -e data ] || if [ -d "$folder" ]; then ln -s "$folder" data; else
  python -c 'import pathlib, launch.demo.data as sample; sample.write(pathlib.Path("data"))'
fi
