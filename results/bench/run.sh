#!/usr/bin/env bash
# The steps, the training and the whole search beside the textbook formulation, and the ledger of
# black-box searches, on an idle machine.
# From the root of the repository: bash results/bench/run.sh [--rounds N]
set -eu
edarts=${EDARTS:-.venv/bin/edarts}
for group in train step search answer profile ledger; do
  "$edarts" bench "$group" "$@" > "results/bench/$group.txt" 2> "results/bench/$group.log"
done
