#!/usr/bin/env bash
# Regularized evolution and random search at equal cost on the digits: TRIALS networks each, the
# same space and training, three seeds. From the root of the repository:
#   bash results/evolution-digits/run.sh [TRIALS] [FOLDER_OF_RESULTS]
# Repeat the command after an interruption: finished trials are not done again.
set -eu
trials=${1:-100}
out=${2:-results/evolution-digits}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$out"
for seed in 0 1 2; do
  for method in regularized_evolution random_search; do
    run=runs/evolution-digits-$trials/$method-$seed
    options="--operations all --topology all --epochs 5 --cells 3 --channels 8"
    if [ "$method" = regularized_evolution ]; then
      options="$options --population 20 --tournament 5"
    fi
    "$python" -m edarts search digits --method "$method" --trials "$trials" --seed "$seed" \
      $options --out "$run" --json --quiet | tail -n 1 > "$out/$method-$seed.json"
    for file in config.yaml environment.json metrics.jsonl; do
      cp "$run/$file" "$out/$method-$seed.$file"
    done
  done
done
"$python" results/evolution-digits/curves.py "$out"
