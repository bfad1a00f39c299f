"""The only file that Airflow's plugin loader reads (see .airflowignore): it registers the links of our operators."""

from airflow.plugins_manager import AirflowPlugin

from ratchet_airflow.links import LINKS


class RatchetPlugin(AirflowPlugin):
    name = "ratchet"
    operator_extra_links = [link() for link in LINKS]
