# Sourced by the run.sh of a study: runs it in runs/NAME, then keeps what tells the result.
# Repeat the command after an interruption: finished runs are not done again.
set -eu
edarts=${EDARTS:-.venv/bin/edarts}
cifar10=${EDARTS_DATA:-../shared/data}/cifar10

# keep NAME VERB...: `edarts VERB... --out runs/NAME`, and its files to results/NAME
keep() {
  name=$1
  shift
  "$edarts" "$@" --out "runs/$name" 2>> "results/$name/study.log"
  for file in config.yaml environment.json ledger.jsonl rows.csv study.json report.html; do
    cp "runs/$name/$file" "results/$name/"
  done
  cp "runs/$name"/*.png "results/$name/"
}
