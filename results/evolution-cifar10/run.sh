#!/usr/bin/env bash
# Regularized evolution and random search at equal cost on CIFAR-10 (JPEG) at 16 x 16 pixels: 30
# networks each of 3 cells and 8 channels, trained for 3 epochs on 1,200 images and scored on 300
# others; three seeds.
# From the root of the repository: bash results/evolution-cifar10/run.sh
# 180 trials of about 7 s on one core: twenty minutes.
. results/evolution.sh
evolve evolution-cifar10 "$cifar10" --trials 30 --limit 1500 --image-size 16 --epochs 3 \
  --cells 3 --channels 8 --batch-size 64 "$@"
