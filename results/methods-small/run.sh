#!/usr/bin/env bash
# Every one-shot method with the same small budget on 500 images of CIFAR-10 (JPEG): what a search
# costs and which cells it returns. Nothing is trained from scratch: no accuracy follows from this.
# From the root of the repository, on one thread, one search after the other:
#   bash results/methods-small/run.sh [PATH_TO_DATA]
# Repeat the command after an interruption: finished searches are not done again.
set -eu
data=${1:-${EDARTS_DATA:-../shared/data}/cifar10}
python=${PYTHON:-.venv/bin/python}
export OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1
"$python" results/methods-small/measure.py "$data"
"$python" results/methods-small/table.py
