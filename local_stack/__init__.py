"""A whole Ratchet on this machine: Airflow and MLflow on loopback, with all their state in one folder.

For the demo, `make up` and the end-to-end tests. Production runs the same DAGs and library on servers of its own.
"""
