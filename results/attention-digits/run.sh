#!/usr/bin/env bash
# eDARTS' attention as it was before our studies, with 5x5 separable convolutions, beside the default
# of now, on data that did not choose it: the digits. Searches of 20 epochs in supernets of 5 cells
# and 8 channels; each found cell trained alike for 15 epochs.
# From the root of the repository: bash results/attention-digits/run.sh
. results/study.sh
for attention in before now; do
  case $attention in
    before) shares=sep_conv_3x3=4,sep_conv_5x5=2,dil_conv_3x3=1,skip_connect=1,max_pool_3x3=1 ;;
    now) shares=sep_conv_3x3=4,dil_conv_3x3=1,skip_connect=1,max_pool_3x3=1 ;;
  esac
  keep "attention-digits/$attention" study depth digits --cells 5 --seeds 8 \
    --search.method edarts --search.attention "$shares" --search.channels 8 --search.epochs 20 \
    --train.cells 5 --train.channels 8 --train.epochs 15 --train.batch-size 64 \
    --train.valid-fraction 0.25 "$@"
done
"$(dirname "$edarts")/python" results/attention-digits/difference.py
