#!/usr/bin/env bash
# Regularized evolution and random search at equal cost on the digits: 30 networks each of 3 cells
# and 8 channels, trained for 4 epochs on 1,150 images and scored on 287 others; three seeds.
# From the root of the repository: bash results/evolution-digits/run.sh
# 180 trials of about 3 s on one core: ten minutes.
. results/evolution.sh
evolve evolution-digits digits --trials 30 --epochs 4 --cells 3 --channels 8 --batch-size 128 "$@"
