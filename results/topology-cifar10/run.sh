#!/usr/bin/env bash
# All 180 topologies with 3x3 separable convolutions on every edge of both cells, on CIFAR-10 (JPEG):
# 5 cells, 8 channels, 5 epochs on 2,000 images, ranked on 1,000 held out of the training split.
# From the root of the repository: bash results/topology-cifar10/run.sh
# Estimate: a run of 6 epochs on 2,400 images took 146 s of processor time on one thread of an
# AMD EPYC that was busy otherwise; so 180 runs of about 110 s, 5.5 hours on one core.
. results/study.sh
keep topology-cifar10 study topology "$cifar10" --operation sep_conv_3x3 --seeds 1 --limit 3000 \
  --train.cells 5 --train.channels 8 --train.epochs 5 --train.batch-size 64 \
  --train.valid-fraction 0.3333 --beside runs/topology-digits "$@"
