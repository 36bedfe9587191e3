#!/bin/bash
# From open_ms as it was published to a model that was evaluated:  bash open_ms.sh open_ms_data work
set -euo pipefail
source=$1 work=$2
trainer=${TRAINER:-nnUNetTrainerMSMultiArmSmall} device=${DEVICE:-cpu} tests=${TEST_PATIENTS:-patient07,patient19,patient26}
export nnUNet_raw=$work/raw nnUNet_preprocessed=$work/preprocessed nnUNet_results=$work/results
export nnUNet_def_n_proc=${nnUNet_def_n_proc:-2}  # processes beside the training; nnU-Net's own default is 8
dataset=$nnUNet_raw/Dataset811_OpenMS

# what is wrong with the files, before anything is written (exit 1: some cases have errors, which are listed)
nnunet-ms-convert check open_ms "$source" || test $? -eq 1
# FLAIR, T2 and T1 of every patient, co-registered by the publisher; 0 outside the brain mask that comes along
nnunet-ms-convert open_ms "$source" --dataset-id 811 --test-patients "$tests" --apply-brain-mask
nnUNetv2_plan_and_preprocess -d 811 -pl nnUNetPlannerMS -c 3d_fullres -npfp 2 -np 2
nnUNetv2_train 811 3d_fullres 0 -tr "$trainer" -p nnUNetPlansMS -device "$device"
# 10 samples of the network: mask, probability, uncertainty, lesions
nnunet-ms-predict -i "$dataset/imagesTs" -o "$work/predictions" -d 811 -tr "$trainer" -f 0 -device "$device" \
    --cases "$dataset/cases.csv"
nnunet-ms-evaluate --predictions "$work/predictions" --references "$dataset/labelsTs" --cases "$dataset/cases.csv" \
    --rater "$trainer" -o "$work/evaluation"
