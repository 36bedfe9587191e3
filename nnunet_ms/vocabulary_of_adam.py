"""What the variables of the simulator's ADaM copies mean (CDISC names); a part of the vocabulary."""

from nnunet_ms.meaning import ONE, TEXT, meanings

ADAM = {
    **meanings(
        TEXT,
        STUDYID="Study",
        USUBJID="Subject, unique over studies",
        SUBJID="Subject in the study; the `patient_id` of the other tables",
        TRT01P="Planned treatment",
        TRT01A="Actual treatment",
        AGEU="Unit of AGE",
        SEX="Sex",
        REGION1="Region of recruitment",
        ITTFL="Intent-to-treat population, Y or N",
        SAFFL="Safety population, Y or N",
        RANDDT="Date of randomisation, day 0",
        TRTSDT="Date of the first treatment",
        TRTEDT="Date of the last treatment",
        EOTSTT="End of treatment: COMPLETED or DISCONTINUED",
        PARAMCD="Code of the parameter",
        PARAM="The parameter in words",
        AVALU="Unit of AVAL",
        EVALID="Who counted: the `rater` of the other tables",
        EVNTDESC="What ended the time",
        STARTDT="Date from which the time counts",
        ADT="Date of the assessment or event",
        AVISIT="Visit in words",
        ABLFL="Y in the baseline record",
    ),
    **meanings("years", AGE="Age"),
    **meanings("EDSS", EDSSBL="EDSS at baseline"),
    **meanings(ONE, CNSR="0: event, 1: censored", PRLBL="Lesions with a paramagnetic rim at baseline"),
    **meanings(
        "days",
        ADY="Day of the assessment: 1 is that of randomisation, there is no day 0",
        TRTEDY="Day of the last treatment",
    ),
    **meanings("weeks", AVISITN="Week of the visit", PREVWK="Week of the scan before, since which change is counted"),
    **meanings("as AVALU or PARAM", AVAL="Value", BASE="Value at baseline", CHG="Value minus value at baseline"),
    **meanings("%", PCHG="100 (value / value at baseline - 1)"),
}
