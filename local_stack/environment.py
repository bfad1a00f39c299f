"""The environment of every server and task: one mapping of variables, built from a var folder and two ports.

Airflow is configured by `AIRFLOW__SECTION__KEY` variables alone; nothing edits an airflow.cfg. Only what deviates from
Airflow's defaults is here, each with its reason.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from local_stack.secret_files import ROLES, Account, airflow_accounts, make_secrets_dir, passwords_file, server_keys

REPO = Path(__file__).resolve().parent.parent

# Variables of the caller's shell that would change what the servers do. RATCHET_LEDGER_* may come from outside: the
# ledger's address and key belong to the deployment.
_NOT_INHERITED = ("AIRFLOW_", "AIRFLOW__", "MLFLOW_", "RATCHET_HOME", "RATCHET_VAR", "PYTHONPATH", "PYTHONDONTWRITE")

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",  # Evidently and others
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "SCARF_ANALYTICS": "false",
    "SCARF_NO_ANALYTICS": "true",
}

# Progress bars and links that libraries print into logs.
QUIET = {
    "TQDM_DISABLE": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",  # MLflow warns at length where git is not installed
    "NO_COLOR": "1",
    "PYTHONUNBUFFERED": "1",
}

# Fits and tasks run beside each other: threads of one would only wait for cores that another holds.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class StackEnvironment:
    """Where a local stack lives and what its processes are told.

    `airflow` is the environment of Airflow's servers and tasks, `mlflow` that of the MLflow server (it holds none of
    Airflow's keys), `client` the few variables with which any other process reaches both.
    """

    var: Path
    airflow_port: int
    mlflow_port: int
    accounts: dict[str, Account]
    airflow: dict[str, str] = field(repr=False)
    mlflow: dict[str, str] = field(repr=False)
    client: dict[str, str] = field(repr=False)

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def mlflow_url(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}"


def build_environment(
    var: Path,
    *,
    airflow_port: int,
    mlflow_port: int,
    home: Path = REPO,
    dags: Path | None = None,
    plugins: Path | None = None,
    extra: dict[str, str] | None = None,
) -> StackEnvironment:
    """The environment for a stack whose state is in `var`; makes the folders, keys and passwords that are missing.

    `home` holds specs and suites, `dags` and `plugins` default to its folders of these names; `extra` wins over all.
    """
    var = var.resolve()
    secrets_dir = make_secrets_dir(var)
    for folder in ("airflow", "mlflow/artifacts", "logs", "cache"):
        (var / folder).mkdir(parents=True, exist_ok=True)
    accounts, keys = airflow_accounts(secrets_dir), server_keys(secrets_dir)
    airflow_url, mlflow_url = f"http://127.0.0.1:{airflow_port}", f"http://127.0.0.1:{mlflow_port}"
    client = _client_variables(var, home, airflow_url, mlflow_url, keys) | (extra or {})
    shared = _inherited() | TELEMETRY_OFF | ONE_THREAD | QUIET | _caches(var)
    airflow = shared | _airflow_settings(var, airflow_url, airflow_port, secrets_dir, keys) | client
    airflow |= _airflow_folders(home, dags, plugins) | (extra or {})
    return StackEnvironment(
        var=var,
        airflow_port=airflow_port,
        mlflow_port=mlflow_port,
        accounts=accounts,
        airflow=airflow,
        mlflow=shared | _mlflow_settings(var, keys),
        client=client,
    )


def _inherited() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    # A proxy for the outside must not be asked for servers on loopback.
    return kept | {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def _caches(var: Path) -> dict[str, str]:
    """Keeps what libraries cache out of the user's home."""
    return {"MPLCONFIGDIR": str(var / "cache" / "matplotlib"), "XDG_CACHE_HOME": str(var / "cache")}


def _client_variables(var: Path, home: Path, airflow_url: str, mlflow_url: str, keys: dict[str, str]) -> dict[str, str]:
    return {
        "RATCHET_HOME": str(home),
        "RATCHET_VAR": str(var),
        "RATCHET_STORAGE": str(var),
        "RATCHET_AIRFLOW_UI": airflow_url,
        "RATCHET_MLFLOW_UI": mlflow_url,
        "MLFLOW_TRACKING_URI": mlflow_url,
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": keys["mlflow_password"],
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by default a server that is down blocks a call for minutes
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    }


def _airflow_settings(var: Path, url: str, port: int, secrets_dir: Path, keys: dict[str, str]) -> dict[str, str]:
    database = f"{var / 'airflow' / 'airflow.db'}?timeout=60"  # seconds to wait for SQLite's one writer
    settings = {
        "core": {
            "executor": "LocalExecutor",
            "parallelism": 4,  # forks that wait for tasks; more than the cores, as many tasks wait for others
            "mp_start_method": "fork",  # the workers inherit what the scheduler has imported
            "load_examples": False,
            "dags_are_paused_at_creation": False,
            "fernet_key": keys["fernet_key"],
            "simple_auth_manager_users": ",".join(f"{name}:{role}" for name, role in ROLES.items()),
            "simple_auth_manager_passwords_file": passwords_file(secrets_dir),
            "hostname_callable": "socket.gethostname",  # no name server is asked
        },
        "database": {
            "sql_alchemy_conn": f"sqlite:///{database}",
            "sql_alchemy_conn_async": f"sqlite+aiosqlite:///{database}",
        },
        "api": {
            "host": "127.0.0.1",
            "port": port,
            "base_url": url,
            "secret_key": keys["session_secret"],
            "log_fetch_timeout_sec": 2,
        },
        "api_auth": {"jwt_secret": keys["jwt_secret"]},
        "execution_api": {"jwt_expiration_time": 6 * 3600},  # longer than the longest task
        "scheduler": {
            "scheduler_idle_sleep_time": 0.1,  # 1 s by default: most of a short task's overhead
            "enable_health_check": False,
            # Both 300 s by default: until a task whose process is gone is tried again, and until tasks of a scheduler
            # that is gone are looked for (30 s after its last sign of life).
            "task_instance_heartbeat_timeout": 60,
            "orphaned_tasks_check_interval": 10,
        },
        "workers": {
            "min_heartbeat_interval": 1,  # a worker stays busy for up to this long after its task
            "execution_api_timeout": 30,  # 5 s by default, short for a machine whose cores are all busy
        },
        "dag_processor": {
            "refresh_interval": 15,
            "parsing_processes": 1,
            "dag_file_processor_timeout": 120,
        },
        "logging": {
            "base_log_folder": var / "airflow" / "logs",
            "colored_console_log": False,
            "namespace_levels": "great_expectations._docs_decorators=WARNING",  # 250 lines at its import
        },
    }
    flat = {"AIRFLOW_HOME": str(var / "airflow")}
    for section, options in settings.items():
        flat |= {f"AIRFLOW__{section.upper()}__{key.upper()}": str(value) for key, value in options.items()}
    return flat


def _airflow_folders(home: Path, dags: Path | None, plugins: Path | None) -> dict[str, str]:
    return {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags or home / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins or home / "plugins"),
        # config/ holds airflow_local_settings.py, which Airflow imports by name.
        "PYTHONPATH": str(REPO / "config"),
    }


def _mlflow_settings(var: Path, keys: dict[str, str]) -> dict[str, str]:
    return {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # twelve processes that nothing here uses
        "MLFLOW_AUTH_CONFIG_PATH": str(_write_mlflow_auth_config(var / "mlflow")),
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": keys["mlflow_password"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": keys["mlflow_session_secret"],
    }


def _write_mlflow_auth_config(folder: Path) -> Path:
    path = folder / "basic_auth.ini"
    path.write_text(
        "[mlflow]\n"
        "default_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder / 'accounts.db'}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        # Checking a password costs a tenth of a second by design; a checked one counts for five minutes.
        "auth_cache_ttl_seconds = 300\n"
    )
    return path
