"""Door into nnU-Net: planners found by name. Re-exports only; see nnunet_ms/doors/__init__.py."""

from nnunet_ms.trainers.mixed_planner import nnUNetPlannerMSMixed
from nnunet_ms.trainers.planner import nnUNetPlannerMS

__all__ = ["nnUNetPlannerMS", "nnUNetPlannerMSMixed"]
