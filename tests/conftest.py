"""Nothing in tests reads the developer's own deployment: RATCHET_*, MLFLOW_* and AIRFLOW_* of the shell are taken away
first, and what Airflow writes when it is imported goes to a folder of its own."""

import atexit
import os
import shutil
import tempfile

for name in [name for name in os.environ if name.startswith(("RATCHET_", "MLFLOW_", "AIRFLOW_"))]:
    del os.environ[name]
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow_home_")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)


def pytest_configure(config):
    # skops asks every module loaded for a name it looks up, Airflow's too, and those warn of each.
    config.addinivalue_line("filterwarnings", "ignore:The .airflow")
