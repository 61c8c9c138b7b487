#!/usr/bin/env bash
# eDARTS, DARTS and random search with weight sharing beside two published cells and random cells of
# equal cost, on CIFAR-10 (JPEG): searches with 5 cells of 8 channels for 8 epochs on 2,000 images,
# networks trained alike for 8 epochs on 1,334 of them.
# From the root of the repository: bash results/compare-cifar10/run.sh
# Estimate, by results/methods-small: the searches of a seed take 2, 10 and 3 minutes, 5 trainings 7
# minutes, and about 14 random cells of equal cost 20: three seeds, 2.1 hours.
. results/study.sh
keep compare-cifar10 compare "$cifar10" --methods edarts,darts,random_ws \
  --zoo darts.v2,pc_darts.cifar10 --seeds 3 --limit 2000 \
  --search.cells 5 --search.channels 8 --search.epochs 8 --search.samples 20 \
  --train.cells 5 --train.channels 8 --train.epochs 8 --train.batch-size 64 \
  --train.valid-fraction 0.3333 "$@"
