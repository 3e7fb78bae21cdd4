"""What a submission would send: missing stages, as elements, as arrays, as sbatch flags. Decides; changes nothing.

Imports `launch.status` and `launch.estimate`, and may neither send nor cancel. Begin with `drafting`; `elements` cuts
stages into array elements and arrays, `request` words them for sbatch, `manifests` for the job; `environment` has
what goes with them of the shell, `notes` what people are told beside.
"""

from launch.draft.drafting import Draft, decide

__all__ = ["Draft", "decide"]
