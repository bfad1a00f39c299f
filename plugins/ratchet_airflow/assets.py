"""The doorbell: an asset event that wakes dispatch early. It carries nothing; a lost one costs a minute at most."""

from airflow.sdk import Asset

LEDGER = Asset(name="ratchet_ledger", uri="ratchet://ledger")
