"""Airflow's face of Ratchet: operators that are thin envelopes round one library call, their links and parameters."""
