"""What the columns of synthetic scans mean."""

from nnunet_ms.meaning import Meaning

SCANS = {
    "synthetic scans.label_map": Meaning("text", "Folder and file of the label map; `phantom` for the simulator's own"),
    "synthetic scans.lesion_masks": Meaning("text", "Folders and files of the lesion masks; blank without any"),
    "synthetic scans.slice_axis": Meaning(
        "1", "Axis across the slices of the first sequence: 0 right, 1 anterior, 2 superior"
    ),
    "synthetic scans.slices_mm": Meaning("mm", "Thickness of the slices of the first sequence"),
    "synthetic scans.mask_volume_ml": Meaning("ml", "Volume of the lesions in the masks, where they come from"),
    "synthetic scans.lesion_volume_ml": Meaning("ml", "Volume of the lesions in the scan"),
    "synthetic scans.black_hole_ml": Meaning("ml", "Of that: dark on T1, not enhancing"),
    "places.mni_dice": Meaning("1", "Dice of the brain and that of MNI152, fitted to it; blank where no brain is seen"),
    "places.ventricle_contrast": Meaning(
        "1",
        "How much brighter the image is inside of the template's ventricles than in tissue, as a share of the latter",
    ),
    "synthetic scans.enhancing_ml": Meaning("ml", "Of that: enhancing after contrast agent"),
}
