"""Write `pyradiomics_3.0.1.csv`: PyRadiomics' values for `made_up_lesions`, with the settings of QSMRim-Net.

PyRadiomics is not installed by this project (it has no wheels for today's Python). In an environment of its own, with a
C compiler::

    pip install numpy versioneer "setuptools<80" && pip install --no-build-isolation pyradiomics==3.0.1
    PYTHONPATH=. python tests/classification/rim/pyradiomics_reference.py

The file in this folder was made by PyRadiomics 3.0.1, NumPy 2.4.6, SimpleITK 2.5.7, PyWavelets 1.9.0, Python 3.11.7.
"""

import csv
import logging
from pathlib import Path

import SimpleITK
from radiomics import featureextractor

from tests.classification.rim.made_up_lesions import made_up_lesions

SETTINGS = {
    "imageType": {"Original": {}, "Wavelet": {"wavelet": "coif1", "level": 1}},
    "featureClass": {"shape": None, "firstorder": None, "glcm": None, "glrlm": None},
    "setting": {"binWidth": 25, "label": 1},
}


def image(array, spacing):
    """A SimpleITK image, (Z, Y, X), of an array (X, Y, Z)."""
    found = SimpleITK.GetImageFromArray(array.transpose(2, 1, 0))
    found.SetSpacing(spacing)
    return found


def main():
    """Write the table."""
    logging.getLogger("radiomics").setLevel(logging.ERROR)
    extractor = featureextractor.RadiomicsFeatureExtractor(SETTINGS)
    columns = {}
    for name, (qsm, mask, spacing) in made_up_lesions().items():
        values = extractor.execute(image(qsm.astype(float), spacing), image(mask.astype("uint8"), spacing))
        columns[name] = {key: float(value) for key, value in values.items() if not key.startswith("diagnostics")}
    with (Path(__file__).parent / "pyradiomics_3.0.1.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["feature", *columns])
        for feature in columns["ball"]:
            writer.writerow([feature, *(f"{column[feature]:.15g}" for column in columns.values())])


if __name__ == "__main__":
    main()
