"""The engine on a virtual clock, in one process, with seeded faults.

Real workers, the real statements on SQLite, the real model client; simulated are the time, the
network, the machines and the provider. One seed gives one run, the same each time:

```python
from holdfast.testing.simulation import plan_of, simulate

report = simulate(plan_of(7))
assert not report.violations
```

`python -m holdfast.testing.simulation --seed 7 -v` shows a run, `--minutes 5` looks for new ones.
After FoundationDB's simulation ("Simulation and testing" in its documentation) and TigerBeetle's
VOPR.
"""

from __future__ import annotations

from holdfast.testing.simulation.plan import Fault, FaultKind, Plan, PlannedJob, plan_of
from holdfast.testing.simulation.run import Report, simulate
from holdfast.testing.simulation.shrink import shrink

__all__ = ["Fault", "FaultKind", "Plan", "PlannedJob", "Report", "plan_of", "shrink", "simulate"]
