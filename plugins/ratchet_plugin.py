"""The only file that Airflow's plugin loader reads (see .airflowignore): it registers the links of our operators, and
mounts our routes (see ratchet_airflow.api) in the API server."""

from airflow.plugins_manager import AirflowPlugin

from ratchet_airflow.links import LINKS


async def routes(scope, receive, send) -> None:
    """Every process of Airflow loads the plugin, and one of them serves: what that takes is imported at its first
    request."""
    from ratchet_airflow.api import app

    await app(scope, receive, send)


class RatchetPlugin(AirflowPlugin):
    name = "ratchet"
    operator_extra_links = [link() for link in LINKS]
    fastapi_apps = [{"app": routes, "url_prefix": "/ratchet", "name": "ratchet"}]
