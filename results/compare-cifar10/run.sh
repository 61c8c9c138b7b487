#!/usr/bin/env bash
# eDARTS, DARTS and random search with weight sharing beside two published cells and random cells of
# equal cost, on CIFAR-10 (JPEG) at 16 x 16 pixels: searches with 5 cells of 8 channels for 4 epochs
# on 1,500 images, networks trained alike for 6 epochs on 1,000 of them; 5,000 test images.
# From the root of the repository: bash results/compare-cifar10/run.sh
. results/study.sh
keep compare-cifar10 compare "$cifar10" --methods edarts,darts,random_ws \
  --zoo darts.v2,pc_darts.cifar10 --seeds 3 --limit 1500 --test-limit 5000 --image-size 16 \
  --search.cells 5 --search.channels 8 --search.epochs 4 --search.samples 20 \
  --train.cells 5 --train.channels 8 --train.epochs 6 --train.batch-size 64 \
  --train.valid-fraction 0.3333 "$@"
