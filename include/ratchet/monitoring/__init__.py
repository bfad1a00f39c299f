"""What is watched of a model in production, and what of it is an alarm. Pure: frames and values in, values out."""
