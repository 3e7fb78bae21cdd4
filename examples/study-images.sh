#!/usr/bin/env bash
# Does training the text tower of a model of images and text change which images it finds? Here with made models and features, so
# that the way is seen: study-images.yaml on this machine without Slurm, some 15 minutes on 2 idle cores; docs/image-text.md says what came.
# Needs `make .venv` and the captions of XFlickr&CO. study-images.sh FOLDER takes the data of FOLDER: see small.sh.
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/../.venv/bin:$PATH"

./small.sh "$@"
[ -d model-12 ] || stepstone models small model-12
[ -d altclip ] || python study_images.py
stepstone plan study-images.yaml
stepstone submit study-images.yaml --wait
stepstone table study-images.yaml --columns xflickrco,unrelated,tatoeba
stepstone table study-images.yaml --languages xflickrco
