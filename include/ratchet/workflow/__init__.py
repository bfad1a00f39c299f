"""The loop's steps, one function per task: each composes adapters and pure stages, and runs with or without Airflow.

Every step takes a `Deployment` first, reads what decides from lake, registry or ledger by digest, does its work once
for equal inputs, and returns a small dict of addresses and numbers.
"""
