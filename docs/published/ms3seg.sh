#!/bin/bash
# From MS3SEG as it was published to a model that was evaluated:  bash ms3seg.sh MS3SEG work
set -euo pipefail
source=$1 work=$2
# not every patient has a T2: FLAIR and T1 alone, and a trainer for them
trainer=${TRAINER:-nnUNetTrainerMSFlairT1Small} device=${DEVICE:-cpu} tests=${TEST_PATIENTS:-101228,107130}
export nnUNet_raw=$work/raw nnUNet_preprocessed=$work/preprocessed nnUNet_results=$work/results
export nnUNet_def_n_proc=${nnUNet_def_n_proc:-2}  # processes beside the training; nnU-Net's own default is 8
dataset=$nnUNet_raw/Dataset812_MS3SEG

nnunet-ms-convert check ms3seg "$source" --channels flair,t1 || test $? -eq 1
nnunet-ms-convert ms3seg "$source" --channels flair,t1 --dataset-id 812 --test-patients "$tests" --apply-brain-mask
nnUNetv2_plan_and_preprocess -d 812 -pl nnUNetPlannerMS -c 3d_fullres -npfp 2 -np 2
nnUNetv2_train 812 3d_fullres 0 -tr "$trainer" -p nnUNetPlansMS -device "$device"
nnunet-ms-predict -i "$dataset/imagesTs" -o "$work/predictions" -d 812 -tr "$trainer" -f 0 -device "$device" \
    --cases "$dataset/cases.csv"
nnunet-ms-evaluate --predictions "$work/predictions" --references "$dataset/labelsTs" --cases "$dataset/cases.csv" \
    --rater "$trainer" -o "$work/evaluation"
