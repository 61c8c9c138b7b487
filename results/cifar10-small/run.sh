#!/usr/bin/env bash
# An eDARTS search on a part of CIFAR-10 (JPEG), and four shallow networks trained alike from the
# cell that it found, DARTS' published second-order cell and two random cells of the same space.
# From the root of the repository: bash results/cifar10-small/run.sh
# Repeat the command after an interruption: finished parts are not done again.
set -eu
data=${EDARTS_DATA:-../shared/data}/cifar10
here=results/cifar10-small
runs=runs/cifar10-small
edarts=${EDARTS:-.venv/bin/edarts}
mkdir -p "$runs"
size="--limit 5000 --epochs 12"

"$edarts" search "$data" --limit 15000 --epochs 20 --seed 0 --out "$runs/search" 2>> "$here/search.log"
for seed in 1 2; do
  .venv/bin/python -c "
import random
from edarts import DartsSpace, Genotype
space = DartsSpace.parse('sep_conv_3x3,sep_conv_5x5,dil_conv_3x3,skip_connect,max_pool_3x3', '1')
assert Genotype.load('$runs/search/genotype.json') in space
open('$here/random-$seed.json', 'w').write(space.sample(random.Random($seed)).to_json())
"
done
# Seed 0 for every cell: the same images in the same order.
"$edarts" train "$runs/search" "$data" $size --seed 0 --out "$runs/edarts" 2>> "$here/train.log"
"$edarts" train darts.v2 "$data" $size --seed 0 --out "$runs/darts.v2" 2>> "$here/train.log"
for seed in 1 2; do
  "$edarts" train "$here/random-$seed.json" "$data" $size --seed 0 --out "$runs/random-$seed" 2>> "$here/train.log"
done
for name in edarts darts.v2 random-1 random-2; do
  "$edarts" evaluate "$runs/$name" --quiet --json > "$here/$name.evaluation.json"
  for file in config.yaml environment.json metrics.jsonl genotype.json; do
    cp "$runs/$name/$file" "$here/$name.$file"
  done
done
for file in config.yaml environment.json metrics.jsonl genotype.json cell.svg cell.png; do
  cp "$runs/search/$file" "$here/search.$file"
done
.venv/bin/python "$here/table.py"
