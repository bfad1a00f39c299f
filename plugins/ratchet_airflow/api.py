"""What we add to Airflow's API server: what became of a retrain request. It reads, and changes nothing.

GET /ratchet/models/{model}/requests/{id}, or /ratchet/models/{model}/requests?key=<the caller's key>, or ?run=<run id>
for one that came without a key. Whoever may read the runs of the model's retrain DAG may ask.

Imported by the API server at the first request (see ratchet_plugin), and by no other process of Airflow.
"""

from __future__ import annotations

import logging
import os
from typing import Annotated
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse

from ratchet.deployment import get_deployment
from ratchet.errors import LedgerError, RatchetError, UnknownNameError
from ratchet.workflow.request_story import tell_request

log = logging.getLogger(__name__)
Words = Annotated[str | None, Query(min_length=1, max_length=500)]


def may_read(request: Request, model: str, user: GetUserDep) -> None:
    """Raises HTTPException 401 for the anonymous, 403 for whoever may not read the runs of the model's retrain DAG."""
    requires_access_dag("GET", DagAccessEntity.RUN, f"{model}.retrain")(request, user)


# Neither docs nor schema: those routes would ask nobody who they are.
app = FastAPI(title="Ratchet", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(may_read)])


@app.get("/models/{model}/requests/{id}")
def request_of_id(model: str, id: str) -> dict:
    return _with_links(model, tell_request(get_deployment().ledger, model, id=id))


@app.get("/models/{model}/requests")
def request_of_caller(model: str, key: Words = None, run: Words = None) -> dict:
    return _with_links(model, tell_request(get_deployment().ledger, model, key=key, run=run))


@app.exception_handler(RatchetError)
def refuse(request: Request, error: RatchetError) -> JSONResponse:
    if isinstance(error, LedgerError):  # its facts name the database's host and user
        log.error("%s %s: %s", request.method, request.url.path, error)
        return JSONResponse({"detail": error.what}, 503)
    return JSONResponse({"detail": str(error)}, 404 if isinstance(error, UnknownNameError) else 400)


def _with_links(model: str, told: dict) -> dict:
    """The answer, and under `links` the pages of training run, question and version, as far as there are any."""
    links = {"self": f"/ratchet/models/{model}/requests/{told['request']['id']}"}
    for name, run in {"training": told["run"], "approval": told["approval"]}.items():
        if run:
            links[name] = f"/dags/{quote(run['dag_id'])}/runs/{quote(run['run_id'])}"
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    links = {name: f"{base}{path}" for name, path in links.items()}
    if told["challenger"] and (mlflow := os.environ.get("RATCHET_MLFLOW_UI")):
        links["version"] = f"{mlflow.rstrip('/')}/#/models/{quote(model)}/versions/{told['challenger']['version']}"
    return {**told, "links": links}
