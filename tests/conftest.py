"""Nothing in tests reads the developer's own deployment: RATCHET_* and MLFLOW_* of the shell are taken away first."""

import os

for name in [name for name in os.environ if name.startswith(("RATCHET_", "MLFLOW_", "AIRFLOW_"))]:
    del os.environ[name]
