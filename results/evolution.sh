# Sourced by the run.sh of an evolution: searches with regularized evolution and at random, three
# seeds each, in runs/NAME, keeps what tells the result, and draws the curves.
# Repeat the command after an interruption: finished trials are not done again.
set -eu
edarts=${EDARTS:-.venv/bin/edarts}
python=${PYTHON:-.venv/bin/python}
cifar10=${EDARTS_DATA:-../shared/data}/cifar10

# evolve NAME DATA OPTION...
evolve() {
  name=$1 data=$2
  shift 2
  for seed in 0 1 2; do
    for method in regularized_evolution random_search; do
      own=""
      if [ "$method" = regularized_evolution ]; then own="--population 8 --tournament 3"; fi
      run=runs/$name/$method-$seed
      # shellcheck disable=SC2086 # two options in one string
      "$edarts" search "$data" --method "$method" --seed "$seed" --space darts --operations all \
        --topology all "$@" $own --out "$run" --json --quiet | sed "s|$PWD/||" > "results/$name/$method-$seed.json"
      for file in config.yaml environment.json metrics.jsonl; do
        cp "$run/$file" "results/$name/$method-$seed.$file"
      done
    done
  done
  "$python" results/curves.py "results/$name"
}
