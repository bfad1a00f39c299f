"""How a challenger does on new rows before it is champion: evidence that may be looked at every day, and a canary's
routing and safety. Pure: frames and values in, values out."""
