"""Ratchet: the library. It knows nothing of Airflow; every stage also runs from a shell or a notebook."""
