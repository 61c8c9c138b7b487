#!/usr/bin/env bash
# Topology 12, which ranks best over results/topology-digits and results/topology-cifar10 together,
# beside topology 1, the default: the digits, trained as there, more seeds.
# From the root of the repository: bash results/topology-confirm-digits/run.sh
. results/study.sh
keep topology-confirm-digits study topology digits --operation sep_conv_3x3 --topologies 1,12 \
  --seeds 8 --train.cells 5 --train.channels 8 --train.epochs 4 --train.batch-size 64 \
  --train.valid-fraction 0.25 "$@"
